"""What the hub itself says to an HTTP server: single questions, and a stream that stays open.

    listening:  open ──stream──► events ──end──► rest (1 s … 60 s) ──► open …
                  └──not offered (4xx)──► over

An old server tells of changes on a GET stream, a new one on the answer of
`subscriptions/listen`. In a session that is one client's, an old server may also say there what
belongs to the call under way: its questions to the client, above all.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias

from msgspec import field

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.asking import NOBODY, refuse_all
from agenthub.outbound.flood import EVENT_LINES, UNWANTED, Tally
from agenthub.outbound.http_answer import says_nothing_of_era
from agenthub.outbound.http_exchange import Endless, Exchange, ExchangeOwner
from agenthub.outbound.http_request import RequestHead
from agenthub.outbound.mcp_message import UNHEARD, Message
from agenthub.outbound.watching import ACKNOWLEDGED, Filter, Watching
from agenthub.ports import Timer, UpstreamWatcher

OnReply: TypeAlias = Callable[[Reply, Mapping[bytes, bytes]], None]

STREAM_PATIENCE: Nanoseconds = 600 * SECOND
"""Then the stream is opened anew: a peer may be gone without a word."""
REST: Nanoseconds = SECOND
REST_MAX: Nanoseconds = 60 * SECOND
FAREWELL_S = 1
OPEN_WITHIN: Nanoseconds = SECOND
"""A call whose client may be asked waits so long for the stream on which that may be."""
REFUSALS = 1_000
"""Pages a minute (`flood`) of requests that belong to no call; more are not answered."""
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


def give_up(exchange: Exchange | None, owner: "ListeningOwner") -> None:
    """Nobody wants its answer any more, nor hears of it."""
    if exchange is not None and not exchange.done:
        exchange.done = True
        owner.let_go(exchange)
        if exchange.connection is not None:
            exchange.connection.drop()


async def say_goodbye(owner: "ListeningOwner") -> None:
    """End an old server's session; it need not answer."""
    over = asyncio.Event()

    def heard(reply: Reply, headers: Mapping[bytes, bytes]) -> None:
        del reply, headers
        over.set()

    owner.ask(
        Question(owner.head.delete, heard, id=owner.mint(), patience=owner.patience, _owner=owner)
    )
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_S):
            await over.wait()


class Beside(Protocol):
    """An attempt, as the session's own stream sees it."""

    def beside(self, message: Message) -> None: ...


class ListeningOwner(ExchangeOwner, Protocol):
    era: Era | None
    head: RequestHead
    watcher: UpstreamWatcher
    strays: int
    declared: bytes

    @property
    def sole(self) -> "Beside | None":
        """The attempt in flight, in a session that is one client's."""
        ...

    def mint(self) -> int: ...

    def post(self, body: bytes) -> None: ...

    def let_go(self, exchange: Exchange) -> None: ...


class Listening:
    """Keeps a stream open until `stop`."""

    def __init__(self, owner: ListeningOwner, capabilities: bytes) -> None:
        self._owner = owner
        self._wanted: Filter = wire.list_changes(capabilities)
        self.watching: Watching | None = None
        """Of a new server."""
        if owner.era is Era.MODERN:
            self.watching = Watching(self._wanted, owner.clock, self._renew)
        elif wire.can_subscribe(capabilities):
            self._wanted = {"resourceSubscriptions": True}
        self._stream: _Stream | None = None
        self._former: _Stream | None = None
        """It is given up when the stream with the new filter is there."""
        self._timer: Timer | None = None
        self._failures = 0
        self._since: Nanoseconds = 0
        self._last_id = b""
        self._then: Callable[[], None] | None = None
        self._hurry: Timer | None = None

    def start(self, then: Callable[[], None]) -> None:
        """`then` is called when calls may begin: at once, or when the stream is there, if what a
        server asks the client might come on it.
        """
        owner = self._owner
        if owner.era is Era.LEGACY and owner.declared != NOBODY:
            self._then = then
            self._hurry = owner.clock.after(OPEN_WITHIN, self._go)
            self._open()
            return
        if self._wanted:
            self._open()
        then()

    def _go(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            assert self._hurry is not None
            self._hurry.cancel()
            then()

    def stop(self) -> None:
        self._then = None
        if self._hurry is not None:
            self._hurry.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.watching is not None:
            self.watching.settle()
        self._drop_former()
        stream, self._stream = self._stream, None
        give_up(stream, self._owner)

    def _renew(self, wanted: Filter) -> None:
        """A filter cannot be changed: open a stream with the new one."""
        self._wanted = wanted
        if self._timer is not None:
            self._timer.cancel()
        self._drop_former()
        self._former, self._stream = self._stream, None
        if wanted:
            self._open()
        else:
            self._acknowledged()

    def _acknowledged(self, stream: "_Stream | None" = None) -> None:
        if stream is self._stream:
            self._drop_former()
            if self.watching is not None:
                self.watching.acknowledged()

    def _drop_former(self) -> None:
        former, self._former = self._former, None
        give_up(former, self._owner)

    def _open(self) -> None:
        self._timer = None
        self._since = self._owner.clock.now()
        owner = self._owner
        self._stream = _Stream(
            owner, self._request, self._go, self._acknowledged, self._ended,
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

    def _ended(self, stream: "_Stream", reply: Reply) -> None:
        if stream is not self._stream:
            return  # It has a successor.
        self._stream = None
        self._go()
        self._last_id = stream.last_id or self._last_id
        refused = reply.ending in {Ending.STATUS, Ending.ERROR, Ending.PROTOCOL}
        if refused and not says_nothing_of_era(reply.status):
            # The new filter is too much for it; what the former stream told it still tells.
            self._stream, self._former = self._former, None
            return
        now, clock = self._owner.clock.now(), self._owner.clock
        self._failures = 0 if now - self._since >= WELL else self._failures + 1
        rest = min(REST_MAX, REST * 2 ** min(self._failures, 6))
        rest = rest // 2 + int(rest // 2 * clock.chance())
        rest = max(rest, (reply.retry_after_ms or 0) * MILLISECOND, stream.retry)
        self._timer = clock.after(min(rest, 10 * REST_MAX), self._open)


class _Stream(Endless):
    _server: ListeningOwner
    _make: Callable[[int], bytes]
    _on_head: Callable[[], None]
    _on_ack: Callable[["_Stream"], None]
    _on_end: Callable[["_Stream", Reply], None]
    _refusals: Tally = field(default_factory=lambda: Tally(REFUSALS))

    @property
    def last_id(self) -> bytes:
        return self._sse.last_id if self._sse is not None else b""

    @property
    def retry(self) -> Nanoseconds:
        wanted = self._sse.retry_ms if self._sse is not None else None
        return (wanted or 0) * MILLISECOND

    def request(self) -> bytes:
        return self._make(self.id)

    def headed(self, status: int, headers: dict[bytes, bytes]) -> None:
        super().headed(status, headers)
        if self._sse is not None:
            self._on_head()

    def _tell(self, reply: Reply) -> None:
        self._on_end(self, reply)

    def _notified(self, message: Message) -> None:
        if (sole := self._server.sole) is not None:
            sole.beside(message)
        elif message.method == ACKNOWLEDGED:
            self._on_ack(self)
        elif message.method not in UNHEARD and message.method != "notifications/message":
            self._server.watcher.changed(message.method, bytes(message.params) or b"{}")

    def _asked(self, message: Message, message_id: int | str) -> None:
        server = self._server
        if server.era is not Era.LEGACY:
            server.strays += 1
        elif (sole := server.sole) is not None:
            sole.beside(message)
        elif self._refusals.add(len(message.params), server.clock.now()):
            pass  # Nobody who means well asks so much, and each refusal is a request of the hub's.
        elif message.method == "ping":
            server.post(wire.pong(message_id))
        else:
            server.post(wire.answer(message_id, b"", refuse_all(message.method)))
