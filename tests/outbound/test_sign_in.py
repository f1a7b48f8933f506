"""A sign-in that a person has begun, in virtual time (A24)."""

import hashlib
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import structs
from support.token_house import BACK, HUB, ISSUER, TokenHouse
from support.virtual_time import passes, virtual_time

from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import InvalidParams
from agenthub.domain.span import SECOND

PERSON = OAuth()


@virtual_time()
async def test_the_code_is_bound_to_the_hub_by_pkce(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    address = await house.logins.begin("git", HUB)
    asked = {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()}
    await house.logins.finish({"state": asked["state"], "code": "c"})
    grant = house.script.grants[0]
    digest = hashlib.sha256(grant["code_verifier"].encode()).digest()
    assert asked["code_challenge"] == urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert asked["code_challenge_method"] == "S256"
    assert len(grant["code_verifier"]) >= 43
    assert (grant["code"], grant["redirect_uri"]) == ("c", BACK)
    assert grant["code_verifier"] not in address


@virtual_time()
async def test_a_state_is_good_once(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    address = await house.logins.begin("git", HUB)
    state = parse_qs(urlsplit(address).query)["state"][0]
    await house.logins.finish({"state": state, "code": "c"})
    for wrong in (state, "", "x", "ä"):
        with pytest.raises(InvalidParams, match="No sign-in waits"):
            await house.logins.finish({"state": wrong, "code": "c"})
    assert len(house.script.grants) == 1


@virtual_time()
async def test_a_new_sign_in_ends_the_one_before(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    states = []
    for _ in range(2):
        address = await house.logins.begin("git", HUB)
        states.append(parse_qs(urlsplit(address).query)["state"][0])
    with pytest.raises(InvalidParams):
        await house.logins.finish({"state": states[0], "code": "c"})
    await house.logins.finish({"state": states[1], "code": "c"})
    assert house.script.registered == [HUB], "the hub registers once"


@virtual_time()
async def test_a_person_has_ten_minutes(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    address = await house.logins.begin("git", HUB)
    assert house.logins.state("git").waits
    await passes(600 * SECOND + 1)
    assert not house.logins.state("git").waits
    state = parse_qs(urlsplit(address).query)["state"][0]
    with pytest.raises(InvalidParams, match="took too long"):
        await house.logins.finish({"state": state, "code": "c"})
    assert house.script.grants == []


@pytest.mark.parametrize(
    ("names_itself", "answer", "good"),
    [
        (True, {"iss": ISSUER}, True),
        (True, {}, False),
        (True, {"iss": f"{ISSUER}/"}, False),
        (False, {}, True),
        (False, {"iss": "https://evil.test"}, False),
        (False, {"error": "access_denied"}, False),
        (False, {"code": ""}, False),
        (False, {"code": "c" * 5_000}, False),
    ],
)
def test_the_answer_is_of_the_server_that_was_asked_and_holds_a_code(
    monkeypatch, names_itself, answer, good
):
    """RFC 9207: else one authorization server could get another one's code."""

    @virtual_time()
    async def test():
        house = TokenHouse(monkeypatch, PERSON)
        house.script.server = structs.replace(house.script.server, names_itself=names_itself)
        if good:
            assert await house.sign_in(**answer) == "git"
            return
        with pytest.raises(InvalidParams):
            await house.sign_in(**answer)
        assert house.script.grants == []
        assert "the sign-in failed" in house.logins.state("git").problem

    test()
