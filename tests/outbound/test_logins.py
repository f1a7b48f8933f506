"""Whose token is whose, and when it is forgotten, in virtual time."""

import pytest
from msgspec import structs
from support.token_house import HUB, MACHINE, URL, TokenHouse
from support.virtual_time import settled, virtual_time

from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import InvalidParams
from agenthub.domain.events import ServerChanged
from agenthub.outbound.logins import Logins
from agenthub.outbound.vault import Vault

PERSON = OAuth()


async def signed_in(monkeypatch):
    house = TokenHouse(monkeypatch, PERSON)
    await house.sign_in()
    assert house.source.header() == "Bearer access-1"
    return house


def kept(house):
    return [name for name in house.store.secrets if name.startswith("oauth:")]


@virtual_time()
async def test_all_connections_of_a_server_share_its_token(monkeypatch):
    house = await signed_in(monkeypatch)
    assert house.add(PERSON) is house.source
    assert house.add(PERSON, "other") is not house.source
    assert house.add(None, "plain") is None


@virtual_time()
async def test_a_server_that_is_removed_and_comes_again_gets_nothing_of_its_namesake(monkeypatch):
    house = await signed_in(monkeypatch)
    house.logins.event(ServerChanged(0, "git", "changed"))
    assert house.source.header() == "Bearer access-1"
    house.logins.event(ServerChanged(0, "git", "removed"))
    assert house.source.header() == ""
    assert house.add(PERSON).header() == ""
    await settled()
    assert kept(house) == []
    assert house.restarted(PERSON).source.header() == ""
    house.logins.event(ServerChanged(0, "unknown", "removed"))


@virtual_time()
async def test_a_server_that_went_while_the_hub_was_off_is_forgotten_at_the_start(monkeypatch):
    house = await signed_in(monkeypatch)
    again = house.restarted(PERSON)
    again.logins.keep_only({"git"})
    assert again.source.header() == "Bearer access-1"
    again.logins.keep_only({"other"})
    assert again.source.header() == ""
    await settled()
    assert kept(again) == []


@pytest.mark.parametrize(
    ("oauth", "url"),
    [(PERSON, "https://moved.test/mcp"), (structs.replace(PERSON, issuer="https://o.test"), URL)],
)
def test_another_address_or_issuer_gets_nothing_and_the_old_one_nothing_back(
    monkeypatch, oauth, url
):
    @virtual_time()
    async def test():
        house = await signed_in(monkeypatch)
        assert house.add(oauth, url=url).header() == ""
        assert house.add(PERSON).header() == ""
        await settled()
        assert kept(house) == []

    test()


@virtual_time()
async def test_oauth_that_is_taken_out_of_a_record_is_forgotten(monkeypatch):
    house = await signed_in(monkeypatch)
    assert house.add(None) is None
    await settled()
    assert kept(house) == []


@virtual_time()
async def test_nobody_signs_in_to_a_server_without_oauth(monkeypatch):
    house = TokenHouse(monkeypatch, MACHINE)
    with pytest.raises(InvalidParams, match="has no `oauth` in its record"):
        await house.logins.begin("other", HUB)
    with pytest.raises(InvalidParams, match="has no `oauth` in its record"):
        await house.logins.end("other")
    assert house.logins.state("other") is None


@virtual_time()
async def test_a_server_that_is_off_is_signed_out_of_all_the_same(monkeypatch):
    """After a restart nothing connects to it, so nobody has read what is kept."""
    house = await signed_in(monkeypatch)
    vault = Vault(dict(house.store.secrets), house.store, lambda: b"k" * 32)
    logins = Logins(vault, house.clock, house.tasks)
    done = await logins.end("git")
    assert (done.was_signed_in, done.revoked) == (True, False)
    assert "switched off" in done.problem
    assert "oauth:git" not in house.store.secrets
    with pytest.raises(InvalidParams, match="or is switched off"):
        await logins.end("git")
