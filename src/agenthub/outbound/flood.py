"""How much a server may say beside its answers: counted by the minute, in pages.

All servers share one event loop, so reading what one of them says takes the time of the others.
A page is one message, and each 4 KiB of it: a few long messages weigh as much as many short ones.
Who goes over its bound is ended, and started anew ever more rarely (`restart`).
"""

from agenthub.domain.span import MICROSECOND, SECOND, Nanoseconds

MINUTE: Nanoseconds = 60 * SECOND
PAGE_BYTES = 4_096
UNWANTED = 10_000
"""Pages a minute of what nobody waits for: they cost the loop about 50 ms. No server that logs its
own life says so much, and one in a tight loop says it within a second."""
WORDS = 100_000
"""Pages a minute while calls are in flight, where it may be their progress and their logs. A
client is told of progress ten times a second at most; this is 160 times as often."""
EVENT_LINES = 4
"""Of an event over HTTP: `event`, `id`, `data` and a blank one."""
STREAM_LINES = WORDS * EVENT_LINES
"""In the stream of one call; reading them costs the loop about a second, if the client waits."""
BREATH_LINES = 1_000
LINE_SPAN: Nanoseconds = 20 * MICROSECOND
"""After a piece of a stream with so many lines, so long for each of them nothing more of it is
read. To read a line takes the loop 1 to 5 us; where it takes longer the pause is longer too, so
that a stream has a quarter of the loop's time at most."""
PER_ANSWER = 20
"""Each answer that was waited for allows so many more: a busy server may log each call."""


class Tally:
    """Counts one kind of messages of one server. A machine without a clock: `now` comes in."""

    __slots__ = ("_answers", "_limit", "_pages", "_since")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pages = 0
        self._answers = 0
        self._since: Nanoseconds = 0

    def add(self, size_bytes: int, now: Nanoseconds, answers: int = 0) -> bool:
        """Count a message; True: they are a flood. `answers` are those of all times."""
        if now - self._since > MINUTE:
            self._since, self._pages, self._answers = now, 0, answers
        self._pages += 1 + size_bytes // PAGE_BYTES
        return self._pages > self._limit + PER_ANSWER * (answers - self._answers)
