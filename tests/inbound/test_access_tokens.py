"""Access tokens of an authorization server at the hub's one gate, over the wire (A24, A25)."""

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager

import pytest
from msgspec import structs
from support.edge_hub import Client, open_house, settings
from support.issuer import HUB, issuer

from agenthub.outbound import issuer as issuer_module
from agenthub.settings import AuthSettings
from agenthub.settings.issuers import IssuerSettings

BODY = b"{}"


@asynccontextmanager
async def guarded(work, **more):
    """A hub that takes this issuer's tokens; its keys are there."""
    made = settings(server={"public_url": HUB})
    one = IssuerSettings(work.url, **more)
    made = structs.replace(made, auth=AuthSettings(issuers={"work": one}))
    async with open_house(made=made) as house:
        for source in house.hub.issuers:
            source.start()
        await until(lambda: not any(one._fetching for one in house.hub.issuers))
        try:
            yield house
        finally:
            await house.hub.tasks.close()


async def until(true, seconds=5):
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - a real process of fetching
            await asyncio.sleep(0.01)


async def ask(house, token, line="POST /mcp HTTP/1.1"):
    body = BODY if line.startswith("POST") else b""
    return await house.ask(house.head(line, key=token, body=body))


async def test_a_token_of_the_issuer_opens_the_hub():
    async with issuer() as work, guarded(work) as house:
        answer = await ask(house, work.token())
        assert answer.status == 200
        assert answer.json["caller"] == "oauth:work:anna"


async def test_the_same_token_again_takes_the_short_way():
    async with issuer() as work, guarded(work) as house:
        token = work.token()
        async with house.client() as client:
            for _ in range(3):
                answer = await client.ask(house.head(key=token, body=BODY))
                assert answer.json["caller"] == "oauth:work:anna"
        assert work.asked == ["/.well-known/oauth-authorization-server", "/keys"]


async def test_the_hubs_own_keys_open_it_as_before():
    async with issuer() as work, guarded(work) as house:
        _, key = await house.hub.keys.create("laptop")
        assert (await ask(house, key)).status == 200
        assert (await ask(house, "a.b.c")).status == 401


def part(data):
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def forged_none(work):
    return f"{part({'alg': 'none', 'kid': 'one'})}.{part(work.claims())}."


def forged_with_public_key(work):
    """The public key's text as the secret of an HMAC."""
    text = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(work.claims())}"
    secret = work.keys["one"].as_pem(private=False)
    sealed = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"


def edited(work):
    head, _, seal = work.token().split(".")
    return f"{head}.{part(work.claims(sub='admin', scope='agenthub:admin'))}.{seal}"


@pytest.mark.parametrize(
    "token",
    [
        forged_none,
        forged_with_public_key,
        edited,
        lambda work: work.token(aud="https://other.example.com/mcp"),
        lambda work: work.token(aud=None),
        lambda work: work.token(exp=1_000_000_000),
        lambda work: work.token(exp=None),
        lambda work: work.token(iss="http://127.0.0.1:9"),
        lambda work: work.token(sub=None),
        lambda work: work.token(alg="RS512"),
        lambda work: work.token() + "x",
        lambda work: work.token()[:-8] + "AAAAAAAA",
        lambda work: work.token(padding="x" * 9_000),
        lambda _: "e30.e30.e30",
        lambda _: "...",
        lambda _: "!.!.!",
    ],
)  # fmt: skip
async def test_what_is_not_the_issuers_word_for_this_hub_opens_nothing(token):
    async with issuer() as work, guarded(work) as house:
        answer = await ask(house, token(work))
        assert answer.status == 401
        assert 'error="invalid_token"' in answer["www-authenticate"]
        assert not house.doors.seen


async def test_a_token_for_one_server_shows_no_other():
    async with issuer() as work, guarded(work) as house:
        token = work.token(aud=f"{HUB}/mcp/git")
        assert house.hub.keys.authenticate(token.encode()).endpoints == {"git"}


async def test_a_client_without_a_token_is_told_whom_to_ask():
    async with issuer() as work, guarded(work) as house:
        answer = await ask(house, None, "POST /mcp/git HTTP/1.1")
        assert answer.status == 401
        told = answer["www-authenticate"]
        place = f"{HUB}/.well-known/oauth-protected-resource/mcp/git"
        assert told == f'Bearer scope="agenthub:tools", resource_metadata="{place}"'
        shown = await ask(house, None, "GET /.well-known/oauth-protected-resource/mcp/git HTTP/1.1")
        assert shown.status == 200
        assert shown.json == {
            "resource": f"{HUB}/mcp/git",
            "resource_name": "AgentHub",
            "authorization_servers": [work.url],
            "scopes_supported": [
                "agenthub:admin",
                "agenthub:ingest",
                "agenthub:llm",
                "agenthub:read",
                "agenthub:tools",
            ],
            "bearer_methods_supported": ["header"],
        }
        root = await ask(house, None, "GET /.well-known/oauth-protected-resource HTTP/1.1")
        assert root.json["resource"] == HUB


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /.well-known/oauth-protected-resource/api HTTP/1.1", 404),
        ("GET /.well-known/oauth-protected-resource/mcp/a/b HTTP/1.1", 404),
        ("GET /.well-known/openid-configuration HTTP/1.1", 404),
        ("GET /.well-known/ HTTP/1.1", 401),
        ("GET /x/.well-known/oauth-protected-resource HTTP/1.1", 401),
        ("HEAD /.well-known/oauth-protected-resource HTTP/1.1", 200),
        ("DELETE /.well-known/oauth-protected-resource HTTP/1.1", 405),
    ],
)
async def test_only_the_metadata_stands_at_a_well_known_address(line, status):
    async with issuer() as work, guarded(work) as house, house.client() as client:
        assert (await client.ask(house.head(line, key=None), head_only=True)).status == status
        assert isinstance(client, Client)


async def test_a_hub_without_issuers_has_no_metadata_and_names_nobody():
    async with open_house() as house:
        line = "GET /.well-known/oauth-protected-resource HTTP/1.1"
        assert (await ask(house, None, line)).status == 404
        assert (await ask(house, None))["www-authenticate"] == "Bearer"
        async with issuer() as work:
            assert (await ask(house, work.token())).status == 401


async def test_a_token_without_the_scope_is_told_which_one_it_needs():
    async with issuer() as work, guarded(work) as house:
        answer = await ask(house, work.token(scope="openid"))
        assert answer.status == 403
        told = answer["www-authenticate"]
        assert told.startswith('Bearer error="insufficient_scope", scope="agenthub:tools"')
        assert "resource_metadata=" in told


async def test_the_settings_say_which_scopes_open_what():
    scopes = {"tools": ("mcp",), "read": ("mcp", "look")}
    async with issuer() as work, guarded(work, scopes=scopes) as house:
        assert (await ask(house, work.token(scope="mcp"))).status == 200
        assert (await ask(house, work.token(scope="look"))).status == 403
        assert (await ask(house, work.token(scope="agenthub:tools"))).status == 403


async def test_a_new_key_of_the_issuer_is_fetched_when_a_token_needs_it(monkeypatch):
    monkeypatch.setattr(issuer_module, "AT_ONCE", 0)
    async with issuer() as work, guarded(work) as house:
        work.add("two")
        token = work.token("two")
        first = await ask(house, token)
        assert first.status == 503
        assert first["retry-after"] == "1"
        source = house.hub.issuers[0]
        await until(lambda: not source._fetching)
        assert (await ask(house, token)).status == 200


async def test_made_up_keys_bring_about_one_fetch_and_no_more():
    async with issuer() as work, guarded(work) as house:
        work.add("unknown", publish=False)
        asked = len(work.asked)
        for _ in range(5):
            assert (await ask(house, work.token("unknown"))).status == 401
        assert len(work.asked) == asked


async def test_a_key_that_the_issuer_withdrew_opens_nothing_any_more(monkeypatch):
    monkeypatch.setattr(issuer_module, "AT_ONCE", 0)
    async with issuer() as work, guarded(work) as house:
        token = work.token()
        assert (await ask(house, token)).status == 200
        work.add("two")
        work.published = ["two"]
        source = house.hub.issuers[0]
        source.start()
        await until(lambda: not source._fetching)
        await ask(house, token)
        await until(lambda: not source._fetching)
        monkeypatch.setattr(issuer_module, "AT_ONCE", 10**12)
        assert (await ask(house, token)).status == 401


async def test_an_issuer_that_is_gone_later_harms_nobody_who_has_a_token():
    async with issuer() as work, guarded(work) as house:
        work.alive = False
        source = house.hub.issuers[0]
        source.start()
        await until(lambda: not source._fetching)
        assert source.problem
        assert (await ask(house, work.token())).status == 200


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ({"/keys": b"[]"}, "no JSON object"),
        ({"/keys": b'{"keys":[]}'}, "no key that can be used"),
        ({"/keys": b'{"keys":7}'}, "no key that can be used"),
        ({"/keys": b'{"keys":[7,{"kty":"oct","k":"c2VjcmV0"},{"kty":"RSA"}]}'}, "no key"),
        ({"/keys": b"x" * 300_000}, "over 262,144 bytes"),
        ({"/.well-known/oauth-authorization-server": b'{"issuer":"x"}'}, "another issuer"),
        ({"/.well-known/oauth-authorization-server": None}, "tells nothing of itself"),
    ],
)  # fmt: skip
async def test_an_issuer_whose_keys_cannot_be_had_is_told_of_and_opens_nothing(pages, words):
    async with issuer() as work:
        work.pages = pages
        async with guarded(work) as house:
            assert words in house.hub.issuers[0].problem
            assert (await ask(house, work.token())).status == 401


async def test_keys_that_are_not_of_this_issuer_by_its_own_words_are_not_read():
    async with issuer() as work:
        told = json.dumps({"issuer": work.url, "jwks_uri": "http://keys.example.com/"}).encode()
        work.pages = {"/.well-known/oauth-authorization-server": told}
        async with guarded(work) as house:
            assert "names no keys" in house.hub.issuers[0].problem


async def test_a_fixed_address_of_the_keys_needs_no_metadata():
    async with issuer() as work, guarded(work, jwks_url=f"{work.url}/keys") as house:
        assert (await ask(house, work.token())).status == 200
        assert work.asked == ["/keys"]
