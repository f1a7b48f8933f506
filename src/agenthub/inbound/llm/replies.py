"""The answer to one request to a model: the provider's own bytes, or an error of the hub's.

waiting ──whole answer──► answered
└──head, chunks──► streaming ──end──► over
└──error──► an error event, over
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agenthub.domain.call import Call
from agenthub.domain.errors import HubError
from agenthub.domain.money import show
from agenthub.domain.outcome import Cause, Ending, Reply
from agenthub.inbound.exchange import Exchange, Headers
from agenthub.passage import Answer, Passage
from agenthub.ports import Question
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.refusal import error_body, error_event

HEAD, CHUNK = "llm/head", "llm/chunk"
"""What an upstream notifies of: header lines of the answer, then its bytes."""
JSON: Final = (b"content-type", b"application/json")
UNAUTHORIZED: Final = 401


class LlmReplies:
    """Receives one call (passage.Receiver)."""

    def __init__(self, exchange: Exchange, call: Call, buffer_bytes: int) -> None:
        assert call.content is not None, "a call of a model"
        self._exchange = exchange
        self._wire = Dialect(call.content.wire)
        self._call_id = call.id
        self._eased = call.content.eased
        self._buffer_bytes = buffer_bytes
        self._passage: Passage | None = None
        self._streaming = self._over = self._gone = False

    def attend(self, passage: Passage) -> None:
        """The call is under way: hear if the client goes."""
        if not self._over:
            self._passage = passage
            self._exchange.closed = self._closed

    def asked(self, question: Question, passage: Passage) -> None:
        raise NotImplementedError("a model asks its client nothing")

    def notified(self, method: str, params: bytes) -> None:
        if self._gone:
            return
        if method == HEAD:
            self._streaming = True
            own = self._own()
            if self._passage is not None:
                own = (*own, _served_by(self._passage.lane.endpoint.name))
            headers = tuple(_fields(params))
            self._exchange.begin(200, (*headers, (b"cache-control", b"no-store"), *own))
        elif method == CHUNK:
            self._exchange.write(params)
            if self._exchange.backlog > self._buffer_bytes and self._passage is not None:
                self._exchange.drained = self._passage.resume
                self._passage.pause()

    def finished(self, answer: Answer) -> None:
        self._over = True
        self._passage = self._exchange.closed = self._exchange.drained = None
        if self._gone:
            return
        if self._streaming:
            if answer.error is not None:
                error = answer.error
                self._exchange.write(
                    error_event(self._wire, error.status, error.slug, str(error), facts(error))
                )
            elif answer.reply is not None and answer.reply.result:
                self._exchange.write(answer.reply.result)
            self._exchange.end()
        elif answer.error is not None:
            refuse(self._exchange, self._wire, answer.error)
        else:
            assert answer.reply is not None, "a call ends with a reply or an error"
            self._answer(answer.reply, answer)

    def _answer(self, reply: Reply, answer: Answer) -> None:
        own = (*self._own(), _served_by(answer.served_by))
        if answer.cost is not None:
            own = (*own, (b"x-agenthub-cost-usd", show(answer.cost).encode()))
        if reply.ending is Ending.RESULT:
            headers = reply.fields or (JSON,)
            self._exchange.answer(200, reply.result, (*headers, *own))
            return
        self._refuse(reply, own)

    def _refuse(self, reply: Reply, own: Headers) -> None:
        """The provider's error, in its own words where they are for the client."""
        status, body, fields = reply.status, reply.error, list(reply.fields)
        # A key that is refused is the hub's, not the client's; a redirection leads nowhere here.
        if status == UNAUTHORIZED or not 400 <= status <= 599:
            status, body = 502, b""
        if not body:
            words = reply.detail
            if reply.status == UNAUTHORIZED:
                words = "The provider refuses the key that the hub has for it"
            body = error_body(self._wire, status, "upstream_error", words, {})
            fields = [field for field in fields if field[0] != b"content-type"]
        if reply.exhausted or reply.status == UNAUTHORIZED:
            fields = [field for field in fields if field[0] != b"x-should-retry"]
            own = (*own, (b"x-should-retry", b"false"))
        if not any(name == b"content-type" for name, _ in fields):
            fields.append(JSON)
        self._exchange.answer(status, body, (*fields, *own))

    def _own(self) -> Headers:
        own = ((b"x-agenthub-request-id", self._call_id.encode()),)
        if self._eased:
            own = (*own, (b"x-agenthub-ladder", self._eased.encode("latin-1", "replace")))
        return own

    def _closed(self) -> None:
        """The client has gone, and the call is still under way."""
        self._gone = True
        if self._passage is not None:
            self._passage.cancel(Cause.CLIENT)


def facts(error: HubError) -> Mapping[str, Any]:
    """What an error says beside its words."""
    return {key: value for key, value in error.data().items() if value not in {None, ""}}


def refuse(exchange: Exchange, wire: str | Dialect, error: HubError) -> None:
    """An error of the hub's, in the shape in which the client's SDK reads errors.

    SDKs repeat 408, 409, 429 and what is from 500 on, unless they are told not to.
    """
    headers = [JSON, (b"x-should-retry", b"true" if error.retryable else b"false")]
    if error.request_id:
        headers.append((b"x-agenthub-request-id", error.request_id.encode()))
    if error.retry_after_ms is not None:
        headers.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
        headers.append((b"retry-after", b"%d" % -(-error.retry_after_ms // 1000)))
    body = error_body(Dialect(wire), error.status, error.slug, str(error), facts(error))
    exchange.answer(error.status, body, headers)


def _served_by(name: str) -> tuple[bytes, bytes]:
    return b"x-agenthub-served-by", name.encode("latin-1", "replace")


def _fields(lines: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon:
            yield name, value
