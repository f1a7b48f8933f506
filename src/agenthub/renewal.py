"""When the lists of one server are fetched: once for many wishes, and before they are too old.

    connected, `list_changed` ─► soon ─► fetched ─► good until the server says that they changed
                                  ▲  │                └─ or, of lists whose changes it does not
                                  │  └─ failed ─► again later, ever more rarely     tell, for their
                                  └── too old, and somebody was shown them or listens ◄── ttlMs ┘

Source: MCP specification 2026-07-28, "Server, Utilities, Caching": polling has jitter and backoff.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from agenthub.domain.caching import Caching
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.inquiry import Inquiry
from agenthub.listing import Listing
from agenthub.ports import Clock
from agenthub.tasks import Tasks

LISTS_TIMEOUT: Nanoseconds = 60 * SECOND
"""For all lists; nobody waits for it but the renewal itself."""
SETTLE_S = 0.1
"""A server that says `list_changed` ten thousand times is asked once per such span (A35)."""
LISTED_PER_S = 256 * 1024
"""Bytes of lists that a server may have the hub work through, over time: 16 MiB take seconds."""
RETRY: Nanoseconds = 5 * SECOND
"""After lists that could not be fetched; doubles up to `RETRY_MAX`."""
RETRY_MAX: Nanoseconds = 300 * SECOND
POLL: Nanoseconds = 60 * SECOND
"""Lists are too old after their `ttlMs`, but not before."""
JITTER: Final = 0.25
"""Of the time until they are too old, so that many servers are not asked at once."""
NEVER: Nanoseconds = 1 << 62


class Renewal:
    """Of one server's lists."""

    def __init__(
        self, name: str, inquiry: Inquiry, clock: Clock, tasks: Tasks,
        fetched: Callable[[Listing], None],
    ) -> None:  # fmt: skip
        self._name = name
        self._inquiry = inquiry
        self._clock = clock
        self._tasks = tasks
        self._fetched = fetched
        self._task: asyncio.Task[object] | None = None
        self._again = False
        self._retry_at: Nanoseconds | None = None
        self._retry_span = RETRY
        self._size_bytes = 0
        self._fetched_at: Nanoseconds | None = None
        self._old_at: Nanoseconds = NEVER
        """From when on they are too old."""
        self._shown = False
        """Whether anybody was shown them since they were fetched."""

    def soon(self) -> None:
        """Fetch them soon, once, however often this is called."""
        if self._task is None or self._task.done():
            self._task = self._tasks.start(self._fetch(), f"lists of {self._name}")
        else:
            self._again = True

    def shown(self) -> None:
        """Somebody is shown them: they are worth being fetched again when they are too old."""
        self._shown = True

    def look_if_due(self, now: Nanoseconds, followed: Callable[[], bool]) -> None:
        """Once a second. `followed`: whether anybody listens for their changes."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self.soon()
        elif now >= self._old_at and (self._shown or followed()):
            self._old_at = NEVER
            self.soon()

    def taken(self, listing: Listing) -> None:
        """These were fetched just now."""
        self._retry_at, self._retry_span = None, RETRY
        self._fetched_at, self._shown = self._clock.now(), False
        self._size_bytes = listing.size_bytes
        spans = [c.ttl_ms for kind, c in listing.said().items() if not listing.tells(kind)]
        self._old_at = NEVER
        if spans:
            span = max(min(spans) * MILLISECOND, POLL)
            self._old_at = self._fetched_at + span + int(span * JITTER * self._clock.chance())

    def left(self, said: Caching) -> int:
        """How many milliseconds are left of what the server said when it was asked."""
        if self._fetched_at is None:
            return 0
        return max(said.ttl_ms - (self._clock.now() - self._fetched_at) // MILLISECOND, 0)

    async def _fetch(self) -> None:
        """Ask for all lists; on any failure what was known stays, and it is tried again later."""
        self._again = True
        while self._again:
            await asyncio.sleep(SETTLE_S + self._size_bytes / LISTED_PER_S)
            self._again = False
            found = await self._inquiry.lists(LISTS_TIMEOUT)
            if isinstance(found, Listing):
                self._fetched(found)
            else:
                self._retry_at = self._clock.now() + self._retry_span
                self._retry_span = min(self._retry_span * 2, RETRY_MAX)
