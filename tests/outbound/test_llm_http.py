"""A provider behind HTTP: what is sent, what is read of answers, and every way to end badly."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import msgspec
import pytest
from support.http_servers import FaultServer
from support.stdio_hub import RealClock, Receiver, Watcher

from agenthub.domain.content import Content, Target
from agenthub.domain.endpoint import Endpoint, Timeouts
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.errors import BadSetting
from agenthub.domain.outcome import Cause, Ending, Written
from agenthub.domain.provider import Llm
from agenthub.domain.span import SECOND
from agenthub.domain.usage import Usage
from agenthub.outbound.http_connection import HttpLimits
from agenthub.outbound.llm_http import LlmUpstream
from agenthub.outbound.llm_request import read_models
from agenthub.ports import Outgoing
from agenthub.tasks import Tasks
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import read_request

ANSWER = {
    "model": "m-2026", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}  # fmt: skip
USED = Usage(9, output_tokens=2)
CHUNKS = [
    {"model": "m-2026", "choices": [{"delta": {"content": "Hi"}, "finish_reason": None}]},
    {"model": "m-2026", "choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"model": "m-2026", "choices": [], "usage": ANSWER["usage"]},
]
EVENTS = [b"data: %b\n\n" % json.dumps(one).encode() for one in CHUNKS] + [b"data: [DONE]\n\n"]


def content(path="/chat/completions", *, wire="chat", headers=(), query="", **said):
    body = json.dumps({"model": "fast", "messages": [], **said}).encode()
    request = read_request(Dialect(wire), body, "fast", stream=bool(said.get("stream")))
    return Content(
        wire, path, query, body, tuple(headers), request.stream, request.max_output, False,
        (Target("p", "m"),), 2, "", request,
    )  # fmt: skip


class Lab:
    def __init__(self, upstream, server, watcher):
        self.upstream, self.server, self.watcher = upstream, server, watcher

    def send(self, what=None, model="m"):
        receiver = Receiver()
        deadline = time.monotonic_ns() + 30 * SECOND
        outgoing = Outgoing("llm/chat", model, {}, {}, deadline, content=what or content())
        return self.upstream.send(outgoing, receiver), receiver

    async def ask(self, what=None, model="m"):
        _, receiver = self.send(what, model)
        async with asyncio.timeout(10):
            return await receiver.reply, receiver

    async def probe(self, method="server/discover"):
        receiver = Receiver()
        self.upstream.send(Outgoing(method, "", {}, {}, time.monotonic_ns() + SECOND), receiver)
        async with asyncio.timeout(10):
            return await receiver.reply


@asynccontextmanager
async def lab(script, *, limits=None, path="/v1", **more):
    async with FaultServer(script) as server:
        llm = Llm(wires=("chat", "messages", "gemini"), **more.pop("llm", {}))
        url = f"http://127.0.0.1:{server.port}{path}"
        record = completed(Endpoint("p", url=url, llm=llm, headers=more.pop("headers", {}), **more))
        watcher, tasks = Watcher(), Tasks()
        upstream = LlmUpstream(record, watcher, RealClock(), tasks, limits or HttpLimits())
        try:
            yield Lab(upstream, server, watcher)
        finally:
            await upstream.close()
            await tasks.close()


async def good(request, peer):
    if request.verb == "GET":
        await peer.json({"data": [{"id": "m"}, {"id": "n"}]})
    else:
        await peer.json(ANSWER, x_request_id="r1", set_cookie="no", x_ratelimit_limit="5")


def streaming(*pieces, end=True, then=None):
    async def script(request, peer):
        await peer.stream()
        for piece in pieces:
            await peer.chunk(piece)
        if then is not None:
            await then(request, peer)
        elif end:
            await peer.end()

    return script


def answering(status, body=b"", **headers):
    async def script(request, peer):
        await peer.answer(
            status, body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return script


async def until(there):
    async with asyncio.timeout(10):
        while not there():  # noqa: ASYNC110 - of another's making
            await asyncio.sleep(0.01)


async def test_the_clients_bytes_go_on_with_the_operators_key_and_none_of_the_clients():
    headers = [
        (b"authorization", b"Bearer ah_secret"), (b"x-api-key", b"ah_secret"),
        (b"anthropic-beta", b"tools-1"), (b"openai-project", b"p"), (b"cookie", b"c"),
        (b"x-forwarded-for", b"1.2.3.4"), (b"user-agent", b"sdk/1"),
    ]  # fmt: skip
    async with lab(good, headers={"Authorization": "Bearer sk-real"}, path="/base/v1?v=2") as at:
        reply, _ = await at.ask(content(headers=headers, temperature=0.5, query="beta=true"))
        (sent,) = at.server.requests
        assert (sent.verb, sent.target) == ("POST", "/base/v1/chat/completions?v=2&beta=true")
        assert json.loads(sent.body) == {"model": "m", "messages": [], "temperature": 0.5}
        assert sent.headers["authorization"] == "Bearer sk-real"
        assert (sent.headers["anthropic-beta"], sent.headers["openai-project"]) == ("tools-1", "p")
        assert sent.headers["user-agent"] == "sdk/1"
        assert sent.headers["x-agenthub-hops"] == "3"
        assert {"x-api-key", "cookie", "x-forwarded-for"}.isdisjoint(sent.headers)
        assert (reply.ending, reply.seen.usage, reply.seen.model) == (
            Ending.RESULT, USED, "m-2026"
        )  # fmt: skip
        assert json.loads(reply.result) == ANSWER
        names = {name for name, _ in reply.fields}
        assert names == {b"content-type", b"x-request-id", b"x-ratelimit-limit"}


async def test_connections_are_kept_and_heads_that_are_known_are_read_the_same():
    async with lab(good) as at:
        replies = [(await at.ask())[0] for _ in range(3)]
        assert [reply.seen.usage for reply in replies] == [USED] * 3
        assert at.server.connections == 1


async def test_anthropic_gets_a_version_and_the_hubs_own_name():
    async with lab(good) as at:
        await at.ask(content("/messages", wire="messages", max_tokens=5))
        (sent,) = at.server.requests
        assert sent.target == "/v1/messages"
        assert sent.headers["anthropic-version"] == "2023-06-01"
        assert sent.headers["user-agent"].startswith("agenthub/")


async def test_geminis_model_stands_in_the_address():
    async with lab(good) as at:
        await at.ask(content("/models/{model}:generateContent", wire="gemini"), "tuned models/x")
        (sent,) = at.server.requests
        assert sent.target == "/v1/models/tuned%20models%2Fx:generateContent"


async def test_a_stream_passes_as_it_comes_and_its_last_bytes_wait_for_the_bill():
    async with lab(streaming(*EVENTS)) as at:
        reply, heard = await at.ask(content(stream=True))
        assert json.loads(at.server.requests[0].body)["stream_options"] == {"include_usage": True}
        assert heard.notes[0] == ("llm/head", b"content-type: text/event-stream\r\n")
        passed = b"".join(piece for name, piece in heard.notes if name == "llm/chunk")
        assert passed + reply.result == EVENTS[0] + EVENTS[1] + EVENTS[3]
        assert reply.result.endswith(b"data: [DONE]\n\n")
        assert (reply.ending, reply.seen.usage) == (Ending.RESULT, USED)


async def test_what_follows_the_end_of_a_stream_is_not_waited_for():
    async def stay(request, peer):
        await peer.reader.read(1)

    async with lab(streaming(*EVENTS, then=stay)) as at:
        reply, _ = await at.ask(content(stream=True))
        assert reply.ending is Ending.RESULT


async def test_the_till_hears_how_much_was_written():
    word = {"model": "m", "choices": [{"delta": {"content": "x" * 3_000}}]}
    events = [b"data: %b\n\n" % json.dumps(word).encode()] * 3
    async with lab(streaming(*events, *EVENTS)) as at:
        _, heard = await at.ask(content(stream=True))
        counts = [int(piece) for name, piece in heard.notes if name == "llm/used"]
        assert counts[-1] >= 3_000
        assert counts == sorted(counts)


async def test_geminis_array_is_a_stream_too():
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 1}
    chunk = {"candidates": [{"finishReason": "STOP"}], "modelVersion": "g", "usageMetadata": usage}
    said = json.dumps([chunk])
    path = "/models/{model}:streamGenerateContent"

    async def script(request, peer):
        await peer.answer(200, said.encode())

    async with lab(script) as at:
        reply, heard = await at.ask(content(path, wire="gemini", stream=True))
        passed = b"".join(piece for name, piece in heard.notes if name == "llm/chunk")
        assert passed + reply.result == said.encode()
        assert (reply.ending, reply.seen.usage) == (Ending.RESULT, Usage(3, output_tokens=1))


@pytest.mark.parametrize("end", ["close", "reset", "end"])
async def test_a_stream_that_breaks_off_is_lost_with_what_was_seen(end):
    """F33."""

    async def break_off(request, peer):
        if end == "end":
            await peer.end()
        else:
            getattr(peer, end)()

    async with lab(streaming(EVENTS[0], then=break_off)) as at:
        reply, heard = await at.ask(content(stream=True))
        assert reply.ending is Ending.LOST
        assert not reply.seen.complete
        assert reply.seen.counted == 2
        assert ("llm/chunk", EVENTS[0]) in heard.notes


async def test_a_stream_that_begins_with_an_error_is_an_error_and_nobody_heard_of_it():
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    async with lab(streaming(error)) as at:
        reply, heard = await at.ask(content(stream=True))
        assert (reply.ending, reply.status, heard.notes) == (Ending.ERROR, 529, [])
        assert b"overloaded" in reply.error
        assert b"content-type" not in dict(reply.fields), "its body is no stream any more"


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_an_error_that_comes_in_pieces_is_still_the_first_event(end):
    error = b'data: {"error":{"message":"the server failed"}}\n' + end
    async with lab(streaming(error[:20], error[20:])) as at:
        reply, heard = await at.ask(content(stream=True))
        chunks = [piece for name, piece in heard.notes if name == "llm/chunk"]
        assert (reply.status, chunks) == (500, [])


async def test_a_first_event_that_comes_in_pieces_is_passed_on_once_it_is_whole():
    first = EVENTS[0]
    async with lab(streaming(first[:9], first[9:], *EVENTS[1:])) as at:
        reply, heard = await at.ask(content(stream=True, stream_options={"include_usage": True}))
        chunks = [piece for name, piece in heard.notes if name == "llm/chunk"]
        assert chunks[0] == first
        assert b"".join(chunks) + reply.result == b"".join(EVENTS)


async def test_a_first_event_that_is_large_is_not_held():
    large = b"data: " + b"x" * 5_000
    async with lab(streaming(large, then=lambda request, peer: peer.reader.read(1))) as at:
        attempt, heard = at.send(content(stream=True, stream_options={"include_usage": True}))
        await until(lambda: ("llm/chunk", large) in heard.notes)
        attempt.cancel(Cause.CLIENT)


async def test_a_stream_that_is_cut_off_by_the_till_tells_nothing_more():
    word = {"model": "m", "choices": [{"delta": {"content": "x" * 3_000}}]}
    event = b"data: %b\n\n" % json.dumps(word).encode()
    async with lab(streaming(event, event, end=False)) as at:
        attempt, heard = at.send(content(stream=True))
        heard.notified = lambda name, _: name == "llm/used" and attempt.cancel(Cause.BUDGET)
        reply = await asyncio.wait_for(heard.reply, 5)
        assert (reply.ending, reply.seen.counted) == (Ending.CANCELLED, 3_000)


async def test_an_error_in_the_middle_of_a_stream_is_passed_on():
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    async with lab(streaming(EVENTS[0], error)) as at:
        reply, heard = await at.ask(content(stream=True))
        assert reply.ending is Ending.ERROR
        passed = b"".join(piece for name, piece in heard.notes if name == "llm/chunk")
        assert passed + reply.result == EVENTS[0] + error


@pytest.mark.parametrize(
    ("status", "body", "exhausted"),
    [
        (400, b'{"error":{"message":"bad"}}', False),
        (429, b'{"error":{"code":"rate_limit_exceeded"}}', False),
        (429, b'{"error":{"code":"insufficient_quota"}}', True),
        (400, b'{"error":{"message":"Your credit balance is too low"}}', True),
        (529, b'{"type":"error","error":{"type":"overloaded_error"}}', False),
        (500, b"oops", False),
    ],
)
async def test_a_refusal_is_the_providers_own_words(status, body, exhausted):
    """F31."""
    async with lab(answering(status, body, retry_after="2")) as at:
        reply, _ = await at.ask()
        assert (reply.ending, reply.status, reply.error) == (Ending.ERROR, status, body)
        assert (reply.exhausted, reply.retry_after_ms) == (exhausted, 2_000)


async def test_a_refusal_without_end_is_cut():
    async with lab(answering(500, b"x" * 1_000_000)) as at:
        reply, _ = await at.ask()
        assert reply.ending is Ending.ERROR
        assert reply.error == b"", "half an error is none"


async def test_an_answer_that_is_too_large_is_not_kept():
    async with lab(answering(200, b"x" * 5_000), limits=HttpLimits(response_bytes=1_000)) as at:
        assert (await at.ask())[0].ending is Ending.TOO_LARGE


async def test_a_stream_that_is_too_large_is_cut():
    async with lab(streaming(*EVENTS[:1] * 40), limits=HttpLimits(stream_bytes=300)) as at:
        reply, _ = await at.ask(content(stream=True))
        assert reply.ending is Ending.TOO_LARGE
        assert reply.seen.counted >= 2, "what came before is booked"


async def test_a_compressed_answer_was_not_asked_for():
    async with lab(answering(200, b"x", content_encoding="gzip")) as at:
        assert (await at.ask())[0].ending is Ending.PROTOCOL
    async with lab(answering(429, b"x", content_encoding="gzip", retry_after="2")) as at:
        reply, _ = await at.ask()
        assert (reply.ending, reply.status, reply.error) == (Ending.ERROR, 429, b"")
        assert reply.retry_after_ms == 2_000


async def test_a_page_of_a_proxy_is_no_answer_of_a_model():
    async with lab(answering(200, b"<html>Sign in</html>")) as at:
        reply, _ = await at.ask()
        assert (reply.ending, reply.result) == (Ending.PROTOCOL, b"")


async def test_an_account_of_the_operators_is_not_told_to_clients():
    async def script(request, peer):
        await peer.json(
            ANSWER, openai_organization="acme", openai_project="p1", openai_version="2020",
            anthropic_organization_id="x",
        )  # fmt: skip

    async with lab(script) as at:
        reply, _ = await at.ask()
        assert dict(reply.fields) == {
            b"content-type": b"application/json", b"openai-version": b"2020",
        }  # fmt: skip


async def test_a_provider_that_says_nothing_is_given_up():
    async def silent(request, peer):
        await peer.reader.read(1)

    async with lab(silent, timeouts=Timeouts(idle_ms=100, call_ms=2_000)) as at:
        assert (await at.ask())[0].ending is Ending.TIMEOUT


async def test_what_is_cancelled_is_told_with_what_was_seen_and_the_connection_goes():
    async def stay(request, peer):
        await peer.reader.read(1)

    async with lab(streaming(EVENTS[0], then=stay)) as at:
        attempt, heard = at.send(content(stream=True))
        await until(lambda: len(heard.notes) > 1)
        attempt.pause()
        attempt.resume()
        attempt.answer(1, b"{}")
        attempt.cancel(Cause.CLIENT)
        attempt.cancel(Cause.CLIENT)
        reply = await heard.reply
        assert (reply.ending, reply.written, reply.seen.counted) == (
            Ending.CANCELLED, Written.ALL, 2
        )  # fmt: skip
        attempt.pause()
        attempt.resume()


# ------------------------------------------------------------ whether it is there


async def test_it_is_asked_for_its_models_at_the_start():
    async with lab(good) as at:
        at.upstream.start()
        at.upstream.start()
        await until(lambda: at.upstream.state.models)
        assert at.upstream.state.models == ("m", "n")
        assert at.watcher.count("connected") == 1
        assert [request.target for request in at.server.requests] == ["/v1/models"]


async def test_a_provider_that_refuses_the_key_is_there_and_says_why_it_is_of_no_use():
    async with lab(answering(401, b"{}")) as at:
        assert (await at.probe()).status == 404
        state = at.upstream.state
        assert state.connected
        assert "401" in state.problem
        assert "key" in state.hint


@pytest.mark.parametrize(("status", "alive"), [(200, True), (404, True), (500, False)])
async def test_a_breaker_hears_whether_it_is_alive(status, alive):
    async with lab(answering(status, b"{}")) as at:
        reply = await at.probe()
        assert (reply.ending is Ending.RESULT or reply.code == -32601) is alive


async def test_what_is_no_question_for_a_model_is_none():
    async with lab(good) as at:
        assert (await at.probe("tools/list")).code == -32601


async def test_a_provider_that_is_not_there_is_looked_for_again():
    async with lab(good) as at:
        await at.server.stop()
        reply, _ = await at.ask()
        assert (reply.ending, reply.written) == (Ending.UNREACHED, Written.NONE)
        assert at.watcher.count("unreachable") >= 1
        assert at.upstream.state.problem
        await at.server.listen()
        await until(lambda: at.upstream.state.connected)
        assert at.upstream.state.problem == ""


async def test_a_closed_one_answers_nobody():
    async with lab(good) as at:
        await at.upstream.close()
        assert (await at.ask())[0].ending is Ending.UNREACHED


async def test_closing_ends_what_is_under_way():
    async def silent(request, peer):
        await peer.reader.read(1)

    async with lab(silent) as at:
        _, heard = at.send()
        await until(lambda: at.server.requests)
        await at.upstream.close()
        assert (await heard.reply).ending is Ending.CANCELLED


def test_a_record_without_an_address_is_no_provider():
    record = Endpoint("p", llm=Llm(preset="demo", wires=("chat",)))
    with pytest.raises(BadSetting, match="url: expected the address"):
        LlmUpstream(record, Watcher(), RealClock(), Tasks(), HttpLimits())


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data":[{"id":"b"},{"id":"a"},{"id":""}]}', ("a", "b")),
        (b'{"models":[{"name":"models/gemini-3"}]}', ("gemini-3",)),
        (b"[]", ()),
        (b"no", ()),
        (msgspec.json.encode({"data": [{"id": "x" * 300}, {"id": "a\nb"}]}), ()),
    ],
)
def test_models_are_read_in_any_shape(body, names):
    assert read_models(body) == names


async def test_a_question_of_the_hubs_own_can_be_given_up():
    async def silent(request, peer):
        await peer.reader.read(1)

    async with lab(silent) as at:
        receiver = Receiver()
        outgoing = Outgoing("ping", "", {}, {}, time.monotonic_ns() + SECOND)
        attempt = at.upstream.send(outgoing, receiver)
        await until(lambda: at.server.requests)
        attempt.cancel(Cause.SHUTDOWN)
        attempt.cancel(Cause.SHUTDOWN)
        assert (await receiver.reply).ending is Ending.CANCELLED
