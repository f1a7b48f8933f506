"""The demo model: a language model without a key, an address or a thought of its own.

It answers as a provider over HTTP would (outbound/llm_http.py), with streams, tools, usage and
faults; and it has a price, so that a budget can be lived through from the first cent to the last.
"""

import hashlib
from collections import OrderedDict
from typing import Any, Final

import msgspec

from agenthub.demo.mind import BYTES_PER_TOKEN, Thought, cut_to, fault_in, think, tokens_of
from agenthub.demo.shapes import Counted, Said, asked_of, embeddings, events, whole
from agenthub.domain.content import Content
from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.provider import DEMO_TOKENS
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.ports import AttemptReceiver, Clock, Outgoing, Timer, UpstreamState, UpstreamWatcher
from agenthub.wire.llm.answer import read_answer
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.refusal import error_body
from agenthub.wire.llm.seen import guessed_output
from agenthub.wire.llm.stream import StreamReader

MODELS: Final = ("demo-1", "demo-mini")
HEAD, CHUNK, USED = "llm/head", "llm/chunk", "llm/used"
TICK: Nanoseconds = 5 * MILLISECOND
"""Between two chunks of a stream."""
SLOW: Nanoseconds = SECOND
SESSIONS_MAX: Final = 256
"""Callers whose last prompt is remembered, for what of the next one is in the cache."""
PREFIX_STEP: Final = 64 * BYTES_PER_TOKEN
JSON: Final = ((b"content-type", b"application/json"),)
STREAM: Final = ((b"content-type", b"text/event-stream; charset=utf-8"),)


class DemoModel:
    """Implements ports.Upstream."""

    def __init__(self, watcher: UpstreamWatcher, clock: Clock) -> None:
        self._watcher = watcher
        self._clock = clock
        self._started = False
        self._prompts: OrderedDict[str, bytes] = OrderedDict()

    @property
    def state(self) -> UpstreamState:
        return UpstreamState(connected=self._started, models=MODELS)

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._clock.after(0, self._watcher.connected)

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> "DemoAttempt":
        attempt = DemoAttempt(self._clock, receiver)
        content = outgoing.content
        if content is None:
            known = outgoing.method in {"ping", "server/discover"}
            reply = Reply(Ending.RESULT, result=b"{}", status=200)
            attempt.end_after(0, reply if known else Reply(Ending.ERROR, code=-32601, status=404))
        elif outgoing.name not in MODELS:
            words = f"The demo has {' and '.join(MODELS)}, and no {outgoing.name[:64]!r}"
            attempt.end_after(0, _refusal(content.wire, 404, "model_not_found", words))
        else:
            self._answer(attempt, outgoing)
        return attempt

    async def close(self) -> None:
        """Nothing is held."""

    def _answer(self, attempt: "DemoAttempt", outgoing: Outgoing) -> None:
        content = outgoing.content
        assert content is not None, "a request to a model"
        wire, body = content.wire, msgspec.json.decode(content.body)
        read, cached = self._read(outgoing.principal, content.body)
        if content.path.endswith("count_tokens"):
            attempt.end_after(0, _good(b'{"input_tokens":%d}' % read, wire))
            return
        if wire == "embeddings":
            attempt.end_after(0, _good(embeddings(outgoing.name, body.get("input"), read), wire))
            return
        asked = asked_of(wire, body)
        fault = fault_in(asked.text)
        if fault in {"!429", "!529"}:
            attempt.end_after(0, _fault(wire, fault))
            return
        said = _said(outgoing, think(asked), read, cached)
        pause = SLOW if fault == "!slow" else TICK
        if content.stream:
            pieces = list(events(wire, said))
            if fault == "!cut":
                pieces = pieces[: max(2, len(pieces) // 2)]
            attempt.stream(wire, pieces, pause, _strips(content))
        elif fault == "!cut":
            reply = Reply(Ending.LOST, status=200, loss=1, detail="the demo cut it off")
            attempt.end_after(pause, reply)
        else:
            attempt.end_after(pause, _good(whole(wire, said), wire))

    def _read(self, caller: str, prompt: bytes) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them the last one of this caller began with."""
        last = self._prompts.pop(caller, b"")
        self._prompts[caller] = prompt[:100_000]
        if len(self._prompts) > SESSIONS_MAX:
            self._prompts.popitem(last=False)
        shared = 0
        while prompt[: shared + PREFIX_STEP] == last[: shared + PREFIX_STEP] and (
            shared + PREFIX_STEP <= min(len(prompt), len(last))
        ):
            shared += PREFIX_STEP
        return tokens_of(prompt), shared // BYTES_PER_TOKEN


class DemoAttempt:
    """Implements ports.Attempt."""

    def __init__(self, clock: Clock, receiver: AttemptReceiver) -> None:
        self._clock = clock
        self._receiver = receiver
        self._timer: Timer | None = None
        self._left: list[bytes] = []
        self._reader: StreamReader | None = None
        self._pause: Nanoseconds = 0
        self._paused = self._over = self._begun = self._cancelled = False

    def end_after(self, span: Nanoseconds, reply: Reply) -> None:
        self._timer = self._clock.after(span, lambda: self._end(reply))

    def stream(self, wire: str, pieces: list[bytes], pause: Nanoseconds, strips: bool) -> None:  # noqa: FBT001
        self._reader = StreamReader(Dialect(wire), strip_usage=strips)
        self._left, self._pause = pieces[::-1], pause
        self._next()

    def _next(self) -> None:
        self._timer = self._clock.after(self._pause, self._write)

    def _write(self) -> None:
        self._timer = None
        if self._paused:
            return
        reader = self._reader
        assert reader is not None, "a stream has a reader"
        if not self._left:
            self._end(self._last(reader, b""))
            return
        if not self._begun:
            self._begun = True
            self._receiver.notified(HEAD, b"content-type: text/event-stream; charset=utf-8\r\n")
        piece = reader.feed(self._left.pop())
        if reader.complete:
            self._end(self._last(reader, piece))
            return
        if piece:
            self._receiver.notified(CHUNK, piece)
        self._receiver.notified(USED, b"%d" % guessed_output(reader.counted))
        if not (self._over or self._cancelled):
            self._next()

    def _last(self, reader: StreamReader, piece: bytes) -> Reply:
        seen = reader.end()
        if seen.complete:
            # The last bytes go with the reply, as from any provider (outbound/llm_attempt.py).
            last = piece + seen.rest
            return Reply(Ending.RESULT, result=last, status=200, seen=seen, fields=STREAM)
        return Reply(Ending.LOST, status=200, loss=1, seen=seen, detail="the demo cut it off")

    def _end(self, reply: Reply) -> None:
        if not self._over:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._receiver.finished(reply)

    def cancel(self, cause: Cause) -> None:
        if not (self._over or self._cancelled):
            self._cancelled = True
            seen = self._reader.end() if self._reader is not None else None
            detail = f"cancelled: {cause.value}"
            reply = Reply(Ending.CANCELLED, Written.ALL, status=200, seen=seen, detail=detail)
            if self._timer is not None:
                self._timer.cancel()
            self.end_after(0, reply)

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None: ...

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._timer is None and not self._over:
                self._next()


def _said(outgoing: Outgoing, thought: Thought, read: int, cached: int) -> Said:
    content = outgoing.content
    assert content is not None, "a request to a model"
    text, is_short = cut_to(thought.text, min(content.output_max or DEMO_TOKENS, DEMO_TOKENS))
    thought = msgspec.structs.replace(thought, text=text)
    written = tokens_of(text) if not thought.tool else tokens_of(repr(thought.arguments)) + 4
    digest = hashlib.sha256(content.body).hexdigest()[:24]
    return Said(digest, outgoing.name, thought, is_short, Counted(read, cached, written))


def _good(body: bytes, wire: str) -> Reply:
    return Reply(
        Ending.RESULT, result=body, status=200, fields=JSON, seen=read_answer(Dialect(wire), body)
    )


def _fault(wire: str, fault: str) -> Reply:
    if fault == "!429":
        words = "The demo model refuses, as it was asked to"
        refusal = _refusal(wire, 429, "rate_limit_exceeded", words)
        return msgspec.structs.replace(refusal, retry_after_ms=100)
    return _refusal(wire, 529, "overloaded", "The demo model is overloaded, as it was asked to be")


def _refusal(wire: str, status: int, slug: str, words: str) -> Reply:
    data: dict[str, Any] = {}
    body = error_body(Dialect(wire), status, slug, words, data)
    return Reply(Ending.ERROR, error=body, status=status, fields=JSON, detail=words)


def _strips(content: Content) -> bool:
    """Whether the client wants no usage in its stream."""
    request = content.request
    return request.dialect is Dialect.CHAT and not request.tells_usage
