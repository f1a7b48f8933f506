"""What the hub itself says to an HTTP server: single questions, and a stream that stays open.

    listening:  open ──stream──► events ──end──► rest (1 s … 60 s) ──► open …
                  └──not offered (4xx)──► over

An old server tells of changed lists on a GET stream, a new one on the answer of
`subscriptions/listen`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.flood import EVENT_LINES, MINUTE, UNWANTED
from agenthub.outbound.http_answer import says_nothing_of_era
from agenthub.outbound.http_exchange import Exchange, ExchangeOwner
from agenthub.outbound.http_request import RequestHead
from agenthub.outbound.mcp_message import UNHEARD, Message
from agenthub.ports import Timer, UpstreamWatcher

OnReply: TypeAlias = Callable[[Reply, Mapping[bytes, bytes]], None]

STREAM_PATIENCE: Nanoseconds = 600 * SECOND
"""Then the stream is opened anew: a peer may be gone without a word."""
REST: Nanoseconds = SECOND
REST_MAX: Nanoseconds = 60 * SECOND
WELL: Nanoseconds = 30 * SECOND
"""A stream that lived so long starts afresh."""


class Question(Exchange):
    """One request of the hub's own."""

    _make: Callable[[], bytes]
    _on_reply: OnReply

    def request(self) -> bytes:
        return self._make()

    def _read_whole(self) -> Reply:
        if self.status in {202, 204} or (self.status < 300 and not self._size):
            return Reply(Ending.STATUS, status=self.status)
        return super()._read_whole()

    def _tell(self, reply: Reply) -> None:
        self._on_reply(reply, self.headers)


def unheard(reply: Reply, headers: Mapping[bytes, bytes]) -> None:
    """For messages whose fate changes nothing."""
    del reply, headers


class ListeningOwner(ExchangeOwner, Protocol):
    era: Era | None
    head: RequestHead
    watcher: UpstreamWatcher
    strays: int

    def mint(self) -> int: ...

    def post(self, body: bytes) -> None: ...

    def let_go(self, exchange: Exchange) -> None: ...


class Listening:
    """Keeps a stream open until `stop`."""

    def __init__(self, owner: ListeningOwner, capabilities: bytes) -> None:
        self._owner = owner
        self._wanted = wire.list_changes(capabilities)
        self._stream: _Stream | None = None
        self._timer: Timer | None = None
        self._failures = 0
        self._since: Nanoseconds = 0
        self._last_id = b""

    def start(self) -> None:
        if self._wanted:
            self._open()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.give_up()

    def _open(self) -> None:
        self._timer = None
        self._since = self._owner.clock.now()
        owner = self._owner
        self._stream = _Stream(
            owner, self._request, self._ended,
            id=owner.mint(), patience=STREAM_PATIENCE, _owner=owner,
            _lines_max=UNWANTED * EVENT_LINES,
        )  # fmt: skip
        self._owner.ask(self._stream)

    def _request(self, stream_id: int) -> bytes:
        head = self._owner.head
        if self._owner.era is Era.LEGACY:
            return head.get(self._last_id)
        method = "subscriptions/listen"
        body = wire.modern_request(stream_id, method, {"notifications": self._wanted})
        return head.own(body, method)

    def _ended(self, reply: Reply) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._last_id = stream.last_id or self._last_id
        refused = reply.ending in {Ending.STATUS, Ending.ERROR, Ending.PROTOCOL}
        if refused and not says_nothing_of_era(reply.status):
            return
        now, clock = self._owner.clock.now(), self._owner.clock
        self._failures = 0 if now - self._since >= WELL else self._failures + 1
        rest = min(REST_MAX, REST * 2 ** min(self._failures, 6))
        rest = rest // 2 + int(rest // 2 * clock.chance())
        rest = max(rest, (reply.retry_after_ms or 0) * MILLISECOND, stream.retry)
        self._timer = clock.after(min(rest, 10 * REST_MAX), self._open)


class _Stream(Exchange):
    _server: ListeningOwner
    _make: Callable[[int], bytes]
    _on_end: Callable[[Reply], None]
    _since: Nanoseconds = 0
    """When the minute began whose lines are counted."""

    @property
    def last_id(self) -> bytes:
        return self._sse.last_id if self._sse is not None else b""

    @property
    def retry(self) -> Nanoseconds:
        wanted = self._sse.retry_ms if self._sse is not None else None
        return (wanted or 0) * MILLISECOND

    def give_up(self) -> None:
        if not self.done:
            self.done = True
            self._server.let_go(self)
            if self.connection is not None:
                self.connection.drop()

    def request(self) -> bytes:
        return self._make(self.id)

    def fed(self, data: bytes) -> None:
        super().fed(data)
        self._size = 0  # It has no end, so its size says nothing; how much comes at a time does.
        now = self._server.clock.now()
        if now - self._since > MINUTE:
            self._since, self._lines = now, 0

    def _tell(self, reply: Reply) -> None:
        self._on_end(reply)

    def _notified(self, message: Message) -> None:
        if message.method not in UNHEARD and message.method != "notifications/message":
            self._server.watcher.changed(message.method, bytes(message.params) or b"{}")

    def _asked(self, message: Message, message_id: int | str) -> None:
        if self._server.era is not Era.LEGACY:
            self._server.strays += 1
        elif message.method == "ping":
            self._server.post(wire.pong(message_id))
        else:
            self._server.post(wire.refusal(message_id, message.method))
