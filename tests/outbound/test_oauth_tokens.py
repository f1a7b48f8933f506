"""The hub's own token for one upstream, in virtual time (A24, A25)."""

from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import structs
from support.token_house import HUB, ISSUER, MACHINE, URL, TokenHouse
from support.virtual_time import passes, settled, virtual_time

from agenthub.admission import SignInState, SignOut
from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import HubError, InvalidParams, StorageFailed, UpstreamUnavailable
from agenthub.domain.span import SECOND
from agenthub.outbound.oauth_server import Client, Refused, Tokens
from agenthub.outbound.oauth_tokens import TokenSource
from agenthub.outbound.vault import Vault

PERSON = OAuth()


def asked_of(address):
    return {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()}


def refused(word):
    error = Refused(f"HTTP 400, {word}")
    error.error = word
    return error


async def signed_in(monkeypatch, oauth=PERSON):
    house = TokenHouse(monkeypatch, oauth)
    await house.sign_in()
    return house


async def wanted(house):
    house.source.want()
    await settled()
    await passes(house.script.takes * 2 * SECOND + 1)


# ---------------------------------------------------------------- without a person


@virtual_time()
async def test_a_token_is_got_when_it_is_wanted(monkeypatch):
    house = TokenHouse(monkeypatch)
    assert house.source.header() == ""
    await wanted(house)
    assert house.source.header() == "Bearer access-1"
    assert house.told == 2
    assert house.script.grants == [{"grant_type": "client_credentials"}]
    assert house.script.clients == [Client("hub", "secret")]


@virtual_time(seeds=20)
async def test_however_many_want_it_one_question_is_under_way(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.takes = 1
    for _ in range(100):
        house.source.want()
    await passes(SECOND)
    house.source.want()
    await passes(2 * SECOND)
    assert len(house.script.grants) == len(house.script.found) == 1


@virtual_time()
async def test_it_is_renewed_before_it_ends_and_nobody_goes_without(monkeypatch):
    house = TokenHouse(monkeypatch)
    await wanted(house)
    await passes(79 * SECOND)
    assert house.source.header() == "Bearer access-1"
    await passes(2 * SECOND)
    assert house.source.header() == "Bearer access-2"
    await passes(10_000 * SECOND)
    assert len(house.script.grants) == 2 + 10_000 // 80


@virtual_time()
async def test_one_of_a_second_is_renewed_once_a_second_and_no_more(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.lasts = 1
    await wanted(house)
    await passes(100 * SECOND)
    assert len(house.script.grants) <= 101


@virtual_time()
async def test_one_whose_time_is_not_told_lasts_an_hour(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.answers = [Tokens("a")]
    await wanted(house)
    await passes(2_879 * SECOND)
    assert len(house.script.grants) == 1
    await passes(2 * SECOND)
    assert len(house.script.grants) == 2


@virtual_time()
async def test_a_token_is_not_shown_when_its_time_is_over(monkeypatch):
    house = TokenHouse(monkeypatch)
    await wanted(house)
    house.script.answers = [UpstreamUnavailable("down")] * 100
    await passes(98 * SECOND)
    assert house.source.header() == "Bearer access-1"
    assert "no access token: down" in house.source.problem.problem
    await passes(3 * SECOND)
    assert house.source.header() == ""


@virtual_time()
async def test_a_renewal_that_failed_is_tried_again_while_there_is_time(monkeypatch):
    house = TokenHouse(monkeypatch)
    await wanted(house)
    house.script.answers = [UpstreamUnavailable("down")]
    await passes(91 * SECOND)
    assert house.source.header() == "Bearer access-3"
    assert house.source.problem.problem == ""


@virtual_time()
async def test_after_a_failure_there_is_a_pause_and_who_wants_it_is_told_why(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.answers = [UpstreamUnavailable("down")]
    await wanted(house)
    assert house.source.problem.problem == "no access token: down"
    told = house.told
    for _ in range(50):
        house.source.want()
    assert house.told == told, "never from inside"
    await settled()
    assert (house.told, len(house.script.grants)) == (told + 50, 1)
    await passes(10 * SECOND)
    await wanted(house)
    assert house.source.header() == "Bearer access-2"
    assert len(house.script.found) == 2, "what was found out may have been out of date"


# ---------------------------------------------------------------- refusals of the upstream


@virtual_time()
async def test_a_token_that_the_upstream_refused_is_not_shown_again(monkeypatch):
    house = TokenHouse(monkeypatch)
    await wanted(house)
    await passes(20 * SECOND)
    house.source.refused("Bearer access-1", 'Bearer scope="x"')
    assert house.source.header() == ""
    assert house.source.problem.problem == ""
    await wanted(house)
    assert house.source.header() == "Bearer access-2"


@virtual_time()
async def test_word_of_an_earlier_token_takes_nothing_from_the_present_one(monkeypatch):
    house = TokenHouse(monkeypatch)
    await wanted(house)
    await passes(90 * SECOND)
    for header in ("Bearer access-1", "", "Bearer x"):
        house.source.refused(header, "")
    assert house.source.header() == "Bearer access-2"


@virtual_time()
async def test_a_new_token_that_is_refused_too_is_not_followed_by_another_at_once(monkeypatch):
    house = TokenHouse(monkeypatch)
    for _ in range(20):
        await wanted(house)
        house.source.refused(house.source.header(), "")
    assert len(house.script.grants) == 1
    assert "it refuses the token that it was just given" in house.source.problem.problem
    await passes(10 * SECOND)
    await wanted(house)
    assert len(house.script.grants) == 2


@virtual_time()
async def test_a_token_with_more_scopes_is_asked_for_when_they_lack(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.server = structs.replace(house.script.server, scopes=("a",))
    await wanted(house)
    assert house.source.lacks('Bearer error="insufficient_scope", scope="b"')
    assert house.source.header() == ""
    assert not house.source.lacks('Bearer error="insufficient_scope", scope="b"')
    await wanted(house)
    assert house.source.header() == "Bearer access-2"
    assert [grant["scope"] for grant in house.script.grants] == ["a", "a b"]
    assert not house.source.lacks('Bearer error="insufficient_scope", scope="a b"')


@virtual_time()
async def test_scopes_that_are_not_to_be_had_cost_one_question(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.server = structs.replace(house.script.server, scopes=("a",))
    await wanted(house)
    house.script.answers = [refused("invalid_scope")]
    assert house.source.lacks('Bearer scope="b"')
    await wanted(house)
    await passes(10 * SECOND)
    await wanted(house)
    assert house.source.header() == "Bearer access-3"
    assert house.script.grants[-1]["scope"] == "a"
    assert not house.source.lacks('Bearer scope="b"')


@virtual_time()
async def test_a_server_that_wants_another_scope_each_time_is_not_followed_for_ever(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.lasts = 100_000
    await wanted(house)
    followed = 0
    for number in range(20):
        followed += house.source.lacks(f'Bearer scope="s{number}"')
        await wanted(house)
    assert followed == 3
    assert house.script.grants[-1]["scope"] == "s0 s1 s2"
    await passes(601 * SECOND)
    assert house.source.lacks('Bearer scope="later"')


@virtual_time()
async def test_scopes_that_several_calls_lack_are_all_asked_for(monkeypatch):
    house = await signed_in(monkeypatch)
    for scope in ("a", "b"):
        house.source.lacks(f'Bearer scope="{scope}"')
    address = await house.logins.begin("git", HUB)
    assert asked_of(address)["scope"] == "a b"
    with pytest.raises(InvalidParams, match=r"did not agree \(invalid_scope\)"):
        await house.sign_in(error="invalid_scope")
    assert "scope" not in asked_of(await house.logins.begin("git", HUB))


@virtual_time()
@pytest.mark.parametrize("after", [1, 3], ids=["while the server is looked for", "at the question"])
async def test_a_renewal_under_way_does_not_bring_too_few_scopes_back(monkeypatch, after):
    house = TokenHouse(monkeypatch)
    house.script.server = structs.replace(house.script.server, scopes=("a",))
    await wanted(house)
    house.source.refused("Bearer access-1", "")
    house.script.takes = 2
    await passes(10 * SECOND)
    house.source.want()
    await passes(after * SECOND)
    told = house.told
    assert house.source.lacks('Bearer scope="b"')
    house.source.want()
    await passes((4 - after) * SECOND - 1)
    assert house.told == told + 1, "of the token that is dropped, and of no end"
    assert house.source.header() == ""
    await passes(5 * SECOND)
    assert house.script.grants[-1]["scope"] == "a b"
    assert house.source.header() == f"Bearer access-{len(house.script.grants)}"


@virtual_time()
async def test_the_operators_scopes_are_not_gone_beyond(monkeypatch):
    house = TokenHouse(monkeypatch, structs.replace(MACHINE, scopes=("a",)))
    assert not house.source.lacks('Bearer scope="b"'), "there is no token"
    await wanted(house)
    assert not house.source.lacks('Bearer scope="b"')
    assert house.source.header() == "Bearer access-1"


@virtual_time()
async def test_a_person_is_asked_for_more_scopes_at_the_next_sign_in(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.server = structs.replace(house.script.server, scopes=("a",))
    await house.sign_in()
    assert not house.source.lacks('Bearer error="insufficient_scope", scope="b"')
    assert house.source.header() == "Bearer access-1"
    address = await house.logins.begin("git", HUB)
    assert parse_qs(urlsplit(address).query)["scope"] == ["a b"]


# ---------------------------------------------------------------- a person signs in


@virtual_time()
async def test_a_person_signs_in_once_and_it_is_renewed_by_itself(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    await wanted(house)
    assert house.source.problem.problem == "no access token: nobody is signed in"
    assert house.source.problem.hint == "Run `agenthub login git`."
    assert house.logins.state("git") == SignInState(False, house.source.problem.problem)
    assert await house.sign_in() == "git"
    assert house.source.header() == "Bearer access-1"
    assert house.logins.state("git") == SignInState(
        False, "", signed_in=True, renews=True, issuer=ISSUER
    )
    await passes(81 * SECOND)
    assert house.source.header() == "Bearer access-2"
    assert house.script.grants[1] == {"grant_type": "refresh_token", "refresh_token": "refresh-1"}
    assert house.script.clients == [Client("client-1")] * 2


@virtual_time()
async def test_a_refresh_token_that_is_not_replaced_stays(monkeypatch):
    house = await signed_in(monkeypatch)
    house.script.answers = [Tokens("a", "", 100), Tokens("b", "", 100)]
    await passes(161 * SECOND)
    assert [g.get("refresh_token") for g in house.script.grants] == [None] + ["refresh-1"] * 2


@virtual_time()
async def test_while_the_code_is_exchanged_the_sign_in_still_waits(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.takes = 1
    task = house.tasks.start(house.sign_in(), "sign in")
    await passes(3 * SECOND // 2)
    assert house.logins.state("git") == SignInState(True, "there is no access token yet")
    await task
    assert house.logins.state("git").signed_in
    assert not house.logins.state("git").waits


@virtual_time()
async def test_a_sign_in_that_is_taken_back_is_told_of_in_clear_words(monkeypatch):
    house = await signed_in(monkeypatch)
    house.script.answers = [refused("invalid_grant")]
    await passes(85 * SECOND)
    assert house.source.header() == "Bearer access-1", "it is good for its time"
    assert house.source.problem.hint == "Run `agenthub login git`."
    await passes(20 * SECOND)
    assert house.source.header() == ""
    assert house.source.problem.problem == "no access token: nobody is signed in"
    assert len(house.script.grants) == 2, "a dead refresh token is sent once"
    await house.sign_in()
    assert house.script.registered == [HUB], "its registration is as good as before"


@virtual_time()
async def test_a_registration_that_is_gone_is_made_anew(monkeypatch):
    house = await signed_in(monkeypatch)
    house.script.answers = [refused("invalid_client")]
    await passes(85 * SECOND)
    await house.sign_in()
    assert house.script.registered == [HUB] * 2
    assert house.script.clients[-1] == Client("client-2")


@virtual_time()
async def test_a_hub_at_another_address_registers_with_that(monkeypatch):
    house = await signed_in(monkeypatch)
    await house.logins.begin("git", "https://hub.example.com")
    assert len(house.script.registered) == 2
    await passes(81 * SECOND)
    assert house.script.clients[-1] == Client("client-1"), "until the new one signed in"


@virtual_time()
async def test_who_is_in_the_settings_is_not_registered(monkeypatch):
    house = await signed_in(monkeypatch, OAuth(client_id="mine"))
    assert house.script.registered == []
    assert house.script.clients == [Client("mine")]


@virtual_time()
async def test_a_machine_needs_no_person(monkeypatch):
    house = TokenHouse(monkeypatch)
    with pytest.raises(InvalidParams, match="needs no person"):
        await house.logins.begin("git", HUB)


@virtual_time(seeds=20)
async def test_a_renewal_that_was_under_way_takes_nothing_from_a_new_sign_in(monkeypatch):
    for late in (refused("invalid_grant"), None):
        house = await signed_in(monkeypatch)
        await passes(79 * SECOND)
        house.script.takes, house.script.answers = 5, [late]
        await passes(2 * SECOND)
        assert len(house.script.grants) == 2
        house.script.takes = 0
        await house.sign_in()
        assert house.source.header() == "Bearer access-3"
        await passes(10 * SECOND)
        assert house.source.header() == "Bearer access-3"
        assert house.source.problem.problem == ""
        house.source.close()


@virtual_time()
async def test_how_long_a_sign_in_lasts_that_is_not_renewed_is_told(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.answers = [Tokens("a", "", 100), Tokens("b", "", None)]
    await house.sign_in()
    state = house.logins.state("git")
    assert (state.renews, state.ends_s) == (False, house.clock.wall() // SECOND + 100)
    await passes(101 * SECOND)
    state = house.logins.state("git")
    assert (state.signed_in, state.ends_s) == (False, None)


@virtual_time()
async def test_one_that_nobody_says_the_end_of_is_good_until_it_is_refused(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.answers = [Tokens("a", "", None)]
    await house.sign_in()
    assert house.logins.state("git").ends_s is None
    await passes(30 * 86_400 * SECOND)
    assert house.source.header() == "Bearer a"
    assert house.restarted(PERSON).source.header() == "Bearer a"
    house.source.refused("Bearer a", "")
    assert house.source.header() == ""


@virtual_time()
async def test_what_a_sign_in_lacks_is_told_until_the_next(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.server = structs.replace(house.script.server, scopes=("a",))
    await house.sign_in()
    house.source.lacks('Bearer scope="a b"')
    state = house.logins.state("git")
    assert (state.scopes, state.wanted) == (("a",), ("b",))
    await house.sign_in()
    state = house.logins.state("git")
    assert (state.scopes, state.wanted) == (("a", "b"), ())


@virtual_time()
async def test_what_a_person_did_not_grant_can_be_asked_for_again(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.server = structs.replace(house.script.server, scopes=("a", "b"))
    house.script.answers = [Tokens("t", "r", 100, ("a",)), Tokens("u", "", 100), None]
    await house.sign_in()
    assert house.logins.state("git").scopes == ("a",)
    house.source.lacks('Bearer scope="b"')
    await passes(81 * SECOND)
    assert house.source.header() == "Bearer u", "a renewal grants what there was"
    state = house.logins.state("git")
    assert (state.scopes, state.wanted) == (("a",), ("b",))
    assert asked_of(await house.logins.begin("git", HUB))["scope"] == "a b"


@virtual_time()
async def test_what_is_not_granted_without_a_person_is_not_asked_for_again(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.server = structs.replace(house.script.server, scopes=("a", "b"))
    house.script.answers = [Tokens("t", "", 100, ("a",))]
    await wanted(house)
    assert not house.source.lacks('Bearer scope="b"')


@virtual_time()
async def test_a_registration_whose_secret_ends_is_made_anew_in_time(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    house.script.secret_ends_s = house.clock.wall() // SECOND + 1_000
    await house.sign_in()
    await house.logins.begin("git", HUB)
    assert len(house.script.registered) == 1
    await passes(1_000 * SECOND)
    await house.logins.begin("git", HUB)
    assert len(house.script.registered) == 2


# ---------------------------------------------------------------- signing out


@virtual_time()
async def test_who_signs_out_leaves_nothing_behind(monkeypatch):
    house = await signed_in(monkeypatch)
    told = house.told
    assert await house.logins.end("git") == SignOut(True, True, "")
    held = {"refresh_token": "refresh-1", "access_token": "access-1"}
    assert house.script.revoked == [(ISSUER, "client-1", held)]
    assert house.source.header() == ""
    assert house.told == told + 1
    assert house.logins.state("git").problem == "no access token: nobody is signed in"
    assert house.store.secrets.keys() == {"key-hmac", "session"}
    await passes(1_000 * SECOND)
    await wanted(house)
    assert len(house.script.grants) == 1, "nothing is renewed"
    assert await house.logins.end("git") == SignOut(False, False, "")
    assert len(house.script.revoked) == 1
    await house.sign_in()
    assert house.script.registered == [HUB] * 2


@virtual_time()
async def test_tokens_that_are_not_revoked_are_gone_all_the_same(monkeypatch):
    house = await signed_in(monkeypatch)
    house.script.unrevoked = "it offers no revocation"
    assert await house.logins.end("git") == SignOut(True, False, "it offers no revocation")
    assert "oauth:git" not in house.store.secrets


@virtual_time()
async def test_what_cannot_be_removed_is_revoked_and_told(monkeypatch):
    house = await signed_in(monkeypatch)
    house.store.broken = True
    with pytest.raises(StorageFailed):
        await house.logins.end("git")
    assert len(house.script.revoked) == 1
    assert house.source.header() == ""


@virtual_time()
async def test_what_was_under_way_brings_no_token_back(monkeypatch):
    house = await signed_in(monkeypatch)
    await passes(79 * SECOND)
    house.script.takes = 5
    await passes(2 * SECOND)
    assert len(house.script.grants) == 2, "it is being renewed"
    await house.logins.end("git")
    await passes(10 * SECOND)
    assert house.source.header() == ""
    task = house.tasks.start(house.sign_in(), "sign in")
    await passes(7 * SECOND)
    assert len(house.script.grants) == 3, "the code is being exchanged"
    await house.logins.end("git")
    with pytest.raises(InvalidParams, match="signed out meanwhile"):
        await task
    assert house.source.header() == ""
    assert "oauth:git" not in house.store.secrets


@virtual_time()
async def test_nobody_signs_out_of_a_server_that_the_hub_signs_in_to_by_itself(monkeypatch):
    house = TokenHouse(monkeypatch)
    with pytest.raises(InvalidParams, match="by itself; `agenthub disable`"):
        await house.logins.end("git")
    with pytest.raises(InvalidParams, match="has no `oauth`"):
        await house.logins.end("other")


# ---------------------------------------------------------------- what is kept


@virtual_time()
async def test_a_restart_needs_no_new_sign_in(monkeypatch):
    house = await signed_in(monkeypatch)
    again = house.restarted(PERSON)
    assert again.source.header() == "Bearer access-1"
    await passes(81 * SECOND)
    assert again.script.grants == [{"grant_type": "refresh_token", "refresh_token": "refresh-1"}]
    await passes(1_000 * SECOND)
    late = again.restarted(PERSON)
    late.clock.wall_step = 1_000 * SECOND
    assert late.source.header() == ""
    await wanted(late)
    assert late.source.header()


@virtual_time()
async def test_another_issuer_never_gets_the_refresh_token(monkeypatch):
    house = await signed_in(monkeypatch)
    again = house.restarted(PERSON)
    again.script.server = structs.replace(again.script.server, issuer="https://evil.test")
    await passes(300 * SECOND)
    assert again.script.grants == []
    assert again.source.problem.problem == (
        "no access token: it takes tokens of https://evil.test now; nobody is signed in there"
    )
    await again.logins.begin("git", HUB)
    assert again.script.registered == [HUB], "nor the client that the other one knows"


@virtual_time()
async def test_after_a_refusal_it_is_asked_whose_tokens_it_takes_now(monkeypatch):
    """It may have gone over to another authorization server, which gets nothing of the first's."""
    house = await signed_in(monkeypatch)
    await passes(20 * SECOND)
    house.script.server = structs.replace(house.script.server, issuer="https://new.test")
    house.source.refused(house.source.header(), "")
    await wanted(house)
    assert "https://new.test" in house.source.problem.problem
    assert house.source.problem.hint == "Run `agenthub login git`."
    assert len(house.script.grants) == 1
    await house.sign_in()
    assert house.script.registered == [HUB] * 2
    assert house.script.clients[-1] == Client("client-2")
    assert house.source.header() == "Bearer access-2"


@virtual_time()
async def test_a_client_that_is_known_to_one_issuer_is_not_shown_to_another(monkeypatch):
    house = await signed_in(monkeypatch, OAuth(client_id="mine"))
    house.script.server = structs.replace(house.script.server, issuer="https://new.test")
    with pytest.raises(Refused, match=r"client_id was for https://login\.test; set oauth\.issuer"):
        await house.logins.begin("git", HUB)
    named = house.restarted(OAuth(client_id="mine", issuer="https://new.test"))
    named.script.server = house.script.server
    assert asked_of(await named.logins.begin("git", HUB))["client_id"] == "mine"


@pytest.mark.parametrize(
    "change", [{"issuer": "https://other.test"}, {"client_id": "x"}, {"scopes": ("x",)}]
)
def test_what_was_got_for_other_settings_is_gone_for_good(monkeypatch, change):
    @virtual_time()
    async def test():
        house = await signed_in(monkeypatch)
        again = house.restarted(structs.replace(PERSON, **change))
        assert again.source.header() == ""
        await settled()
        assert again.store.secrets.keys() == {"key-hmac", "session"}
        assert again.restarted(PERSON).source.header() == ""

    test()


@virtual_time()
async def test_a_new_secret_of_the_same_client_changes_nothing_else(monkeypatch):
    house = TokenHouse(monkeypatch)
    await wanted(house)
    source = house.add(structs.replace(MACHINE, client_secret="another"))
    assert source is not house.source
    assert source.header() == "Bearer access-1"
    assert house.source.header() == ""


@virtual_time()
async def test_what_comes_for_one_that_is_closed_is_thrown_away(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.script.takes = 1
    house.source.want()
    await passes(SECOND)
    house.source.close()
    await passes(5 * SECOND)
    assert house.source.header() == ""
    assert "oauth:git" not in house.store.secrets
    house.source.want()
    await passes(5 * SECOND)
    assert len(house.script.grants) == 1


@virtual_time()
async def test_a_token_that_cannot_be_kept_is_used_all_the_same(monkeypatch):
    house = TokenHouse(monkeypatch)
    house.store.broken = True
    await wanted(house)
    assert house.source.header() == "Bearer access-1"
    assert house.source.problem.problem.startswith("no access token: ")


@virtual_time()
async def test_a_key_that_cannot_be_used_is_told_of_and_harms_nobody_else(monkeypatch):
    house = await signed_in(monkeypatch)

    def key():
        raise StorageFailed("Other users may read vault-key")

    vault = Vault(dict(house.store.secrets), house.store, key)
    source = TokenSource("git", URL, PERSON, vault, house.clock, house.tasks)
    assert "Other users may read vault-key" in source.problem.problem
    assert not source.is_empty, "what is kept may be good when the key is"
    odd = Vault({}, house.store, lambda: b"k" * 32)
    await odd.write("git", source.place, {"registration": 7})
    assert TokenSource("git", URL, PERSON, odd, house.clock, house.tasks).is_empty


@virtual_time()
async def test_nothing_that_is_told_holds_a_secret(monkeypatch):
    house = await signed_in(monkeypatch)
    house.script.answers = [refused("invalid_grant")]
    await passes(200 * SECOND)
    told = repr((house.source.problem, house.logins.state("git")))
    with pytest.raises(HubError) as caught:
        await house.sign_in(error="access_denied", code="the-code")
    told += str(caught.value)
    assert not [word for word in ("access-1", "refresh-1", "the-code") if word in told]
