"""What the connections of one listener share: the gate, the limits, the coarse time, the sweep.

One timer looks after all connections, so that ten thousand of them cost one walk a second and
none of them a timer. Time is therefore coarse, and never late: a connection may be closed up to
one period before its limit, and not after it.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.inbound.exchange import HotDoor
from agenthub.inbound.gate import Gate
from agenthub.inbound.known import KnownHeads
from agenthub.outbox import Outbox
from agenthub.ports import Clock, Timer
from agenthub.settings import LimitSettings

LINGER: Final = 2 * SECOND
"""How long the answer to a request that was not read to its end may take to be read."""
STALL_BYTES: Final = 16 * 1024
"""What a slow client takes at least in one body timeout, or it is cut off."""

SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
"""On every answer. Source: UI decisions §5, rule 7."""


class Swept(Protocol):
    """A connection, as the sweep sees it."""

    def sweep(self, now: int) -> None: ...


class Edge:
    """Made once for a listener; every connection holds it."""

    def __init__(
        self,
        gate: Gate,
        hot: Callable[[str], HotDoor | None],
        limits: LimitSettings,
        clock: Clock,
        ids: Callable[[], str],
    ) -> None:
        self.asgi_headers: list[tuple[bytes, bytes]] = []
        """What uvicorn's cycle adds to each answer: the date, kept current here."""
        self.gate = gate
        self.hot = hot
        self.limits = limits
        self.clock = clock
        self.ids = ids
        self.header_timeout = limits.header_timeout_ms * MILLISECOND
        self.body_timeout = limits.body_timeout_ms * MILLISECOND
        self.keep_alive = limits.keep_alive_ms * MILLISECOND
        shortest = min(self.header_timeout, self.body_timeout, max(self.keep_alive, 1))
        self.period = max(10 * MILLISECOND, min(SECOND, shortest // 4))
        self.is_accepting = True
        self.connections: set[Swept] = set()
        self.turns = 0
        """Requests that are being answered."""
        self.emptied = asyncio.Event()
        """Set when the last connection has gone."""
        self.known = KnownHeads(gate)
        self.outbox = Outbox()
        self.now = clock.now()
        """As of the last sweep."""
        self._heads: dict[int, bytes] = {}
        self._timer: Timer | None = None
        self.sweep()

    def sweep(self) -> None:
        self.now = now = self.clock.now()
        self._heads.clear()
        # The date is for people and caches, so it is the wall clock's.
        date = formatdate(self.clock.wall() // SECOND, usegmt=True).encode()
        self.asgi_headers[:] = [(b"date", date)]
        for connection in list(self.connections):
            connection.sweep(now)
        self._timer = self.clock.after(self.period, self.sweep)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def joined(self, connection: Swept) -> bool:
        """Whether there is room for one connection more; it is counted then."""
        if len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(connection)
        self.emptied.clear()
        return True

    def left(self, connection: Swept) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()

    def head(self, status: int) -> bytes:
        """The status line and what every answer has."""
        return self._heads.get(status) or self._make_head(status)

    def _make_head(self, status: int) -> bytes:
        try:
            phrase = HTTPStatus(status).phrase.encode()
        except ValueError:
            phrase = b""
        lines = [b"HTTP/1.1 %d %b" % (status, phrase)]
        lines += [name + b": " + value for name, value in (*self.asgi_headers, *SAFE_HEADERS)]
        head = self._heads[status] = b"\r\n".join(lines) + b"\r\n"
        return head
