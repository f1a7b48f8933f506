"""One request to an LLM provider and its answer: passed on as it comes, read for what it used.

    head ─► 4xx, 5xx ──────────► the provider's own error, whole
         ─► JSON ──────────────► the body, whole
         ─► event stream ──────► held until it brings something ─► head, chunks … ─► end

A stream that begins with an error event was an error: nothing of it is passed on, and another
provider can still be asked. After the first byte nobody else is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from msgspec import structs

from agenthub.domain.outcome import Cause, Ending, Reply
from agenthub.domain.provider import Llm
from agenthub.outbound.http_answer import media_type, retry_after_ms
from agenthub.outbound.http_exchange import Exchange, ExchangeOwner
from agenthub.outbound.llm_request import LlmHead, passed_on
from agenthub.ports import AttemptReceiver, Outgoing
from agenthub.wire.llm.answer import read_answer
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import LlmRequest, send_as
from agenthub.wire.llm.seen import Seen, guessed_output
from agenthub.wire.llm.stream import StreamReader

HEAD, CHUNK, USED = "llm/head", "llm/chunk", "llm/used"
"""What a receiver is notified of: header lines of the answer, its bytes, tokens written so far."""
USED_STEP: Final = 256
EXHAUSTED: Final = (
    b"insufficient_quota", b"billing_not_active", b"credit balance is too low",
    b"billing_hard_limit", b"exceeded your current quota", b"spend limit",
)  # fmt: skip
"""In the body of a 429 or 400: there is no money left at the provider (F31)."""
BUSY: Final = (b"overloaded", b"rate_limit", b"RESOURCE_EXHAUSTED")
"""In the error of a stream: the provider has too much to do."""
OPENING_BYTES: Final = 4_096
"""Of a stream, held until its first event is whole: it may be an error."""
_BLANK = re.compile(rb"\n\r?\n")


class LlmOwner(ExchangeOwner, Protocol):
    """What an attempt needs of its provider."""

    llm: Llm
    head: LlmHead

    def heard(self, status: int, headers: Mapping[bytes, bytes]) -> None: ...
    def let_go(self, exchange: Exchange) -> None: ...


class LlmAttempt(Exchange):
    """Implements `ports.Attempt`."""

    _provider: LlmOwner
    outgoing: Outgoing
    receiver: AttemptReceiver
    _reader: StreamReader | None = None
    _begun: bool = False
    """Whether anything was passed on."""
    _opening: bytes = b""
    """Of a stream's first event, as long as it is not whole."""
    _told_used: int = 0

    # ---------------------------------------------------------------- the port

    def cancel(self, cause: Cause) -> None:
        if self.done:
            return
        written = self.written
        self._provider.let_go(self)
        if self.connection is not None:
            self.connection.drop()
        self.finish(
            Reply(
                Ending.CANCELLED, written, status=self.status, seen=self._seen(),
                detail=f"cancelled: {cause.value}",
            )
        )  # fmt: skip

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None:
        """A model asks nobody."""

    def pause(self) -> None:
        self._paused = True
        if self.connection is not None and not self.done:
            self.connection.pause()

    def resume(self) -> None:
        self._paused = False
        if self.connection is not None and not self.done:
            self.connection.resume()

    # ---------------------------------------------------------------- the exchange

    def request(self) -> bytes:
        outgoing, llm = self.outgoing, self._provider.llm
        content = outgoing.content
        assert content is not None, "an attempt has a content"
        body = send_as(content.request, outgoing.name, include_usage=llm.counts_streams)
        return self._provider.head.post(llm, content, outgoing.name, body)

    def _tell(self, reply: Reply) -> None:
        self.receiver.finished(reply)

    def answered(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        self.status, self.headers = 200, headers
        self._provider.heard(200, headers)
        self.finish(self._whole(body))

    def headed(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._provider.heard(status, headers)
        super().headed(status, headers)
        content = self.outgoing.content
        assert content is not None, "an attempt has a content"
        self._sse = None  # Its bytes are passed on; nobody needs them as events.
        if status >= 300 and self.reply is not None:
            self.reply = self._refused(status, b"")  # Packed: its status says enough.
        # Gemini streams one JSON array, unless it is asked for events.
        is_array = content.stream and content.wire == Dialect.GEMINI.value
        is_stream = is_array or media_type(headers) == b"text/event-stream"
        if status < 300 and is_stream and self.reply is None:
            self._reader = StreamReader(
                Dialect(content.wire),
                strip_usage=adds_usage(content.request, self._provider.llm),
            )

    def fed(self, data: bytes) -> None:
        if self.reply is not None:
            return
        if self._reader is None:
            super().fed(data)
            return
        self._size += len(data)
        if self._size > self._owner.limits.stream_bytes:
            limit = self._owner.limits.stream_bytes
            self._decide(Ending.TOO_LARGE, f"the answer's stream is over {limit:,} bytes")
            return
        piece = self._reader.feed(data)
        self._tell_used(self._reader)
        if self.done:
            return  # No budget had room for what was told.
        if self._reader.error and not self._begun:
            self.reply = self._failed(self._reader.error)
        elif self._reader.complete and not self._is_open_ended:
            self._begin()
            self.reply = self._ended(self._reader, piece)
        elif piece and (self._begun or self._opens(piece)):
            self._begin()
            self.receiver.notified(CHUNK, self._opened(piece))

    def _opens(self, piece: bytes) -> bool:
        """Whether enough of a stream came to be passed on; if not, the piece is kept."""
        opening = self._opening + piece
        if self._is_open_ended or len(opening) > OPENING_BYTES or _BLANK.search(opening):
            return True
        self._opening = opening
        return False

    def _opened(self, piece: bytes) -> bytes:
        """The piece, behind what was kept."""
        opening, self._opening = self._opening, b""
        return opening + piece

    @property
    def _is_open_ended(self) -> bool:
        """Whether something may follow what looks like the end, as with Gemini."""
        content = self.outgoing.content
        return content is not None and content.wire == Dialect.GEMINI.value

    def _tell_used(self, reader: StreamReader) -> None:
        """Let the till hear now and then how much was written."""
        written = guessed_output(reader.counted)
        if written >= self._told_used + USED_STEP:
            self._told_used = written
            self.receiver.notified(USED, b"%d" % written)

    def _begin(self) -> None:
        """From here on something is passed on, and nobody else is asked."""
        if not self._begun:
            self._begun = True
            lines = b"".join(b"%b: %b\r\n" % field for field in self._fields())
            self.receiver.notified(HEAD, lines)

    def _decide_by_status(self) -> None:
        """Its words are too many to be passed on."""
        refusal = self._refused(self.status, b"".join(self._parts))
        self.reply = structs.replace(refusal, error=b"")

    def _read_whole(self) -> Reply:
        body = b"".join(self._parts)
        if self.status >= 300:
            return self._refused(self.status, body)
        reader = self._reader
        if reader is None:
            return self._whole(body)
        seen = reader.end()
        if seen.error and not self._begun:
            return self._failed(seen.error)
        if not seen.complete and not seen.error:
            return Reply(
                Ending.LOST, status=self.status, loss=self._owner.mint_loss(), seen=seen,
                detail="the stream ended before its end",
            )  # fmt: skip
        self._begin()
        return self._ended(reader, b"")

    def _ended(self, reader: StreamReader, last: bytes) -> Reply:
        """The stream is whole. Its last bytes go with the reply: to the client once what it cost
        is booked (L2).
        """
        seen = reader.end()
        last = self._opened(last + seen.rest)
        if seen.error:
            return Reply(
                Ending.ERROR, result=last, status=status_of(seen.error), error=seen.error,
                seen=seen, fields=self._fields(),
                detail="the provider broke its stream off with an error",
            )  # fmt: skip
        return Reply(
            Ending.RESULT, result=last, status=self.status, seen=seen, fields=self._fields()
        )

    def finish(self, reply: Reply) -> None:
        if reply.seen is None and self._reader is not None:
            reply = structs.replace(reply, seen=self._reader.end())
        super().finish(reply)

    # ---------------------------------------------------------------- what it says

    def _whole(self, body: bytes) -> Reply:
        content = self.outgoing.content
        assert content is not None, "an attempt has a content"
        if body.lstrip()[:1] not in {b"{", b"["}:
            return self._no_answer()
        return Reply(
            Ending.RESULT, result=body, status=self.status, fields=self._fields(),
            seen=read_answer(Dialect(content.wire), body),
        )  # fmt: skip

    def _refused(self, status: int, body: bytes) -> Reply:
        spent = status in {400, 402, 403, 429} and any(word in body for word in EXHAUSTED)
        return Reply(
            Ending.ERROR, error=body, status=status, fields=self._fields(), exhausted=spent,
            retry_after_ms=retry_after_ms(self.headers, self._owner.clock.wall()),
            detail=f"the provider answered with HTTP {status}",
        )  # fmt: skip

    def _failed(self, error: bytes) -> Reply:
        """A stream that was an error from its first event on; nothing of it was passed on."""
        # It is no stream any more: the type of the answer's head does not go with it.
        fields = tuple(field for field in self._fields() if field[0] != b"content-type")
        return Reply(
            Ending.ERROR, error=error, status=status_of(error), fields=fields,
            detail="the provider's stream began with an error",
        )  # fmt: skip

    def _fields(self) -> tuple[tuple[bytes, bytes], ...]:
        return passed_on(tuple(self.headers.items()))

    def _seen(self) -> Seen | None:
        return self._reader.end() if self._reader is not None else None


class LlmQuestion(Exchange):
    """What the hub itself asks a provider: its models. Implements `ports.Attempt`."""

    _provider: LlmOwner
    _on_reply: Callable[[Reply], None]
    _known: bool
    """Whether it is a question that a provider has an answer to at all."""

    def request(self) -> bytes:
        return self._provider.head.models()

    def cancel(self, cause: Cause) -> None:
        if not self.done:
            self._provider.let_go(self)
            if self.connection is not None:
                self.connection.drop()
            self.finish(Reply(Ending.CANCELLED, detail=f"cancelled: {cause.value}"))

    def answer(self, question_id: int | str, result: bytes, error: bytes = b"") -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def answered(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        self._provider.heard(200, headers)
        self.finish(Reply(Ending.RESULT, result=body, status=200))

    def headed(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._provider.heard(status, headers)
        super().headed(status, headers)
        self._sse = None

    def _read_whole(self) -> Reply:
        if self.status < 300:
            return Reply(Ending.RESULT, result=b"".join(self._parts), status=self.status)
        # Whatever it says of this question, it is alive; but trouble of its own is trouble.
        alive = self.status < 500
        return Reply(
            Ending.ERROR, code=-32601 if alive else 0, status=404 if alive else self.status
        )

    def _tell(self, reply: Reply) -> None:
        self._on_reply(reply if self._known else Reply(Ending.ERROR, code=-32601, status=404))


def status_of(error: bytes) -> int:
    """What an error that came in a stream would have been as an answer."""
    return 529 if any(word in error for word in BUSY) else 500


def adds_usage(request: LlmRequest, llm: Llm) -> bool:
    """Whether the hub alone asks for the usage of this stream, and so keeps it to itself."""
    is_chat = request.dialect is Dialect.CHAT
    return is_chat and request.stream and not request.tells_usage and llm.counts_streams
