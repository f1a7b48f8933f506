"""A server behind HTTP+SSE and OAuth: what it is shown, and what becomes of refusals."""

import asyncio
from contextlib import asynccontextmanager

from support.http_servers import Request
from support.sse_servers import ENDPOINT, SseServer, UrlHouse
from support.stdio_hub import RealClock, text_of, until
from support.token_house import MACHINE, TokenHouse

from agenthub.domain.endpoint import OAuth
from agenthub.domain.errors import UpstreamUnavailable
from agenthub.domain.outcome import Ending, Written
from agenthub.outbound import oauth_tokens
from agenthub.outbound.mcp_url import Found


class Guarded(SseServer):
    """Wants one of `tokens` for what `wants` says."""

    def __init__(self, *tokens, wants=lambda _: True):
        super().__init__()
        self.tokens, self.wants = list(tokens), wants
        self.shown = []

    async def _answer(self, request: Request, peer):
        shown = request.headers.get("authorization", "")
        self.shown.append((request.verb, request.target, shown))
        if self.wants(request) and shown.removeprefix("Bearer ") not in self.tokens:
            await peer.answer(401, b"", headers={"WWW-Authenticate": 'Bearer error="x"'})
        else:
            await super()._answer(request, peer)


def found(*, is_sse):
    made = Found()
    made.is_sse = is_sse
    return made


@asynccontextmanager
async def guarded(monkeypatch, server, oauth=MACHINE, *, is_sse=True):
    tokens = TokenHouse(monkeypatch, oauth, clock=RealClock)
    async with server, UrlHouse(
        server.url, tokens=tokens.source, found=found(is_sse=is_sse)
    ) as house:  # fmt: skip
        house.tokens, house.script = tokens, tokens.script
        yield house
    await tokens.tasks.close()


async def test_the_token_is_shown_with_the_stream_and_with_each_post(monkeypatch):
    server = Guarded("access-1")
    async with guarded(monkeypatch, server) as house:
        assert text_of(await house.call("tool", n=1)) == '{"n":1}'
    assert {shown for _, _, shown in server.shown} == {"Bearer access-1"}
    assert [verb for verb, _, _ in server.shown] == ["GET", "POST", "POST", "POST"]


async def test_the_transport_is_found_out_behind_oauth_too(monkeypatch):
    server = Guarded("access-1")
    async with guarded(monkeypatch, server, is_sse=False) as house:
        assert text_of(await house.call("tool", n=1)) == '{"n":1}'
    assert {shown for _, _, shown in server.shown} == {"Bearer access-1"}


async def test_a_token_that_ended_is_replaced_and_no_call_notices(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    server = Guarded("access-1")
    async with guarded(monkeypatch, server) as house:
        await house.up()
        server.tokens = ["access-2"]
        replies = await asyncio.gather(*(house.call("tool", n=n) for n in range(20)))
        assert [text_of(reply) for reply in replies] == [f'{{"n":{n}}}' for n in range(20)]
        assert len(house.script.grants) == 2
        assert len(server.streams) == 1


async def test_a_stream_that_is_refused_is_asked_for_again_with_another_token(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    server = Guarded("access-2")
    async with guarded(monkeypatch, server) as house:
        assert text_of(await house.call("tool", n=1)) == '{"n":1}'
    assert [shown for verb, _, shown in server.shown if verb == "GET"] == [
        "Bearer access-1", "Bearer access-2",
    ]  # fmt: skip


async def test_a_call_is_posted_again_once_and_no_more(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    server = Guarded("none", wants=lambda request: request.method == "tools/call")
    async with guarded(monkeypatch, server) as house:
        reply = await house.call("tool")
        assert (reply.ending, reply.status) == (Ending.STATUS, 401)
        posted = server.heard("tools/call")
        shown = [request.headers.get("authorization") for request in posted]
        assert shown == ["Bearer access-1", "Bearer access-2"]


async def test_a_server_that_refuses_every_token_is_down_and_trips_no_breaker(monkeypatch):
    server = Guarded()
    async with guarded(monkeypatch, server) as house:
        reply = await house.call("tool")
        assert (reply.ending, reply.status, reply.written) == (Ending.STATUS, 401, Written.NONE)
        assert "it refuses the token that it was just given" in reply.detail
        assert "it refuses the token" in house.upstream.state.problem
        assert not [one for one in house.watcher.heard if one[0] == "unreachable"]


async def test_without_a_sign_in_calls_say_so_and_after_it_they_go_through_at_once(monkeypatch):
    server = Guarded("access-1")
    async with guarded(monkeypatch, server, OAuth()) as house:
        reply = await house.call("tool")
        assert reply.detail == "no access token: nobody is signed in. Run `agenthub login git`."
        assert server.shown == []
        await house.tokens.sign_in()
        await until(lambda: house.upstream.state.connected)
        assert text_of(await house.call("tool", n=1)) == '{"n":1}'


async def test_a_token_that_cannot_be_renewed_ends_what_waits_and_not_the_stream(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "PAUSE", 0)
    server = Guarded("access-1")
    async with guarded(monkeypatch, server) as house:
        await house.up()
        server.tokens = []
        house.script.answers = [UpstreamUnavailable("the issuer is gone")]
        reply = await house.call("tool")
        assert (reply.ending, reply.status) == (Ending.STATUS, 401)
        assert "the issuer is gone" in reply.detail
        assert house.upstream.state.connected
        server.tokens = ["access-3"]
        assert text_of(await house.call("tool", n=2)) == '{"n":2}'
        assert len(server.streams) == 1
    assert ENDPOINT in {target for _, target, _ in server.shown}
