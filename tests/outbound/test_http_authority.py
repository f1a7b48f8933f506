"""The hub's own token on its way to an HTTP server, and what becomes of refusals, over the wire."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from support.http_servers import FaultServer, HttpHouse, Legacy, modern
from support.stdio_hub import RealClock, text_of, until
from support.token_house import MACHINE, TokenHouse

from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import UpstreamUnavailable
from agenthub.domain.outcome import Ending, Written
from agenthub.outbound import oauth_tokens


class Guarded:
    """A server that wants one of these tokens for what `wants` says."""

    def __init__(self, *tokens, behind=None, wants=lambda _: True):
        self.tokens, self.behind, self.wants = list(tokens), behind or modern(), wants
        self.challenge = 'Bearer error="invalid_token"'
        self.status = 401
        self.shown = []

    async def __call__(self, request, peer):
        shown = request.headers.get("authorization", "")
        self.shown.append(shown)
        if shown.removeprefix("Bearer ") in self.tokens or not self.wants(request):
            await self.behind(request, peer)
        else:
            await peer.answer(self.status, b"", headers={"WWW-Authenticate": self.challenge})


@asynccontextmanager
async def guarded(monkeypatch, guard, oauth=MACHINE):
    tokens = TokenHouse(monkeypatch, oauth, clock=RealClock)
    async with FaultServer(guard) as server, HttpHouse(server.url, tokens=tokens.source) as house:
        house.server, house.tokens, house.script = server, tokens, tokens.script
        yield house
    await tokens.tasks.close()


async def test_the_token_is_shown_with_all_that_is_sent(monkeypatch):
    guard = Guarded("access-1", behind=Legacy())
    async with guarded(monkeypatch, guard) as house:
        assert text_of(await house.call("echo", text="hi")) == "hi"
    assert guard.shown == ["Bearer access-1"] * 5
    assert len(house.script.grants) == 1


async def test_calls_wait_for_the_token_as_they_do_for_the_connection(monkeypatch):
    async with guarded(monkeypatch, Guarded("access-1")) as house:
        house.script.takes = 0.05
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(20)))
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(20)]
        assert len(house.script.grants) == 1


async def test_a_token_that_ended_is_replaced_in_the_middle_and_no_call_notices(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    guard = Guarded("access-1")
    async with guarded(monkeypatch, guard) as house:
        await house.up()
        guard.tokens = ["access-2"]
        replies = await asyncio.gather(*(house.call("x", text=n) for n in range(50)))
        assert [text_of(reply) for reply in replies] == [str(n) for n in range(50)]
        assert len(house.script.grants) == 2
    first = guard.shown.index("Bearer access-2")
    assert "Bearer access-1" not in guard.shown[first:]


async def test_a_renewed_token_is_shown_from_then_on(monkeypatch):
    guard = Guarded("access-1", "access-2")
    async with guarded(monkeypatch, guard) as house:
        await house.up()
        await house.call("x")
        house.tokens.source._ask()
        await until(lambda: len(house.script.grants) == 2)
        await house.call("x")
        assert guard.shown[-1] == "Bearer access-2"
        assert house.server.count("server/discover") == 1


async def test_a_call_is_sent_again_once_and_no_more(monkeypatch):
    """A server that takes no token for its calls costs one more request, not a loop."""
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    guard = Guarded("none", wants=lambda request: request.method == "tools/call")
    async with guarded(monkeypatch, guard) as house:
        await house.up()
        reply = await house.call("x")
        assert (reply.ending, reply.status) == (Ending.STATUS, 401)
        assert len(house.server.calls()) == 2
        shown = [request.headers.get("authorization") for request in house.server.calls()]
        assert shown == ["Bearer access-1", "Bearer access-2"]


async def test_a_server_that_refuses_every_token_is_down_and_says_why(monkeypatch):
    async with guarded(monkeypatch, Guarded()) as house:
        reply = await house.call("x")
        assert (reply.ending, reply.written) == (Ending.STATUS, Written.NONE)
        assert "it refuses the token that it was just given" in reply.detail
        for _ in range(10):
            await house.call("x")
        assert len(house.script.grants) == 1
        assert "it refuses the token" in house.upstream.state.problem


async def test_without_a_sign_in_the_error_says_how_to_sign_in(monkeypatch):
    guard = Guarded("access-1")
    async with guarded(monkeypatch, guard, OAuth()) as house:
        reply = await house.call("x")
        assert (reply.ending, reply.status) == (Ending.STATUS, 401), "no breaker helps here"
        assert reply.detail == ("no access token: nobody is signed in. Run `agenthub login git`.")
        state = house.upstream.state
        assert (state.problem, state.hint) == (
            "no access token: nobody is signed in", "Run `agenthub login git`.",
        )  # fmt: skip
        assert guard.shown == []
        await house.tokens.sign_in()
        await house.watcher.until("connected")
        assert text_of(await house.call("x")) == "x"


async def test_an_authorization_server_that_is_down_makes_the_server_down(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    async with guarded(monkeypatch, Guarded("access-2")) as house:
        house.script.answers = [UpstreamUnavailable("login.test: HTTP 503")]
        reply = await house.call("x")
        assert "login.test: HTTP 503" in reply.detail
        assert text_of(await house.call("x")) == "x"


async def test_scopes_that_lack_are_got_and_the_call_is_sent_again(monkeypatch):
    guard = Guarded("access-2", wants=lambda request: request.method == "tools/call")
    guard.status, guard.challenge = 403, 'Bearer error="insufficient_scope", scope="write"'
    async with guarded(monkeypatch, guard) as house:
        await house.up()
        assert text_of(await house.call("x")) == "x"
        assert house.script.grants[-1]["scope"] == "write"


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (
            'Bearer error="insufficient_scope", scope="write"',
            "it answered with HTTP 403: the hub's token lacks scopes: write (see `agenthub login`)",
        ),
        (
            'Bearer error="insufficient_scope", scope="a\\b"',
            "it answered with HTTP 403: the hub's token lacks scopes (see `agenthub login`)",
        ),
        (
            'Bearer error="insufficient_scope", scope="b"\r\nWWW-Authenticate: Basic realm="x"',
            "it answered with HTTP 403: the hub's token lacks scopes: b (see `agenthub login`)",
        ),
        ("Bearer", "it answered with HTTP 403: it forbids this"),
    ],
)
async def test_scopes_that_only_a_person_can_get_are_told(monkeypatch, challenge, words):
    guard = Guarded(wants=lambda request: request.method == "tools/call")
    guard.status, guard.challenge = 403, challenge
    async with guarded(monkeypatch, guard, OAuth()) as house:
        await house.tokens.sign_in()
        await house.up()
        reply = await house.call("x")
        assert (reply.ending, reply.status, reply.detail) == (Ending.STATUS, 403, words)
        assert len(house.server.calls()) == 1


async def test_credentials_that_are_forgotten_are_shown_no_more(monkeypatch):
    async with guarded(monkeypatch, Guarded("access-1")) as house:
        await house.up()
        house.tokens.source.close()
        await house.upstream.close()
        assert house.tokens.source.header() == ""
        assert house.tokens.source.listeners == []


async def test_a_server_without_oauth_is_as_it_was(monkeypatch):
    guard = Guarded()
    guard.challenge = 'Bearer resource_metadata="https://x/"'
    async with FaultServer(guard) as server, HttpHouse(server.url) as house:
        reply = await house.call("x")
        assert (reply.ending, reply.status) == (Ending.STATUS, 401)
        assert "agenthub login" in house.upstream.state.hint
    assert guard.shown == [""]
