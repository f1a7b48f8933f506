"""How long a budget lasts, and which window of it an instant falls into.

    day, week, month   [midnight, midnight) in the budget's own time zone: 23 or 25 hours where the
                       clocks change
    hours N            rolling: counted by whole hours of UTC; the window at an instant is its hour
                       and the N before it, so any N hours together stay within the limit
    lifetime, run      one window without an end; of a run, one for each session

A window's key names its counter. Keys of one kind sort by time. There is no reset: a new window is
a new counter.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from agenthub.domain.errors import BadSetting

KINDS: Final = ("day", "week", "month", "hours", "lifetime", "run")
HOUR_S: Final = 3600
HOURS_MAX: Final = 24 * 31
"""Each call adds up so many counters."""
FOREVER_S: Final = 253_402_300_800
"""The year 10000: the end of what has none."""
EARLIEST_S: Final = 86_400 * 366
"""Before it no calendar is asked, so that no zone leads out of what dates can say."""
LATEST_S: Final = FOREVER_S - 86_400 * 366


class Window(Struct, frozen=True):
    """A half-open span of time, in seconds since 1970, and the counters that count in it."""

    key: str
    """Of the counter that what is spent now goes to."""
    first: str
    """The key of the oldest counter that counts now; `key` itself unless the window rolls."""
    starts_at: int
    ends_at: int


class Period(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A budget's period."""

    kind: str = "month"
    """day, week, month, hours, lifetime or run."""
    start: int = 1
    """Of a week: its first day, from 1, Monday, to 7. Of a month: from 1 to 28. Of hours: how
    many."""
    tz: str = "UTC"
    """An IANA name, as `Asia/Seoul`."""

    def check(self) -> None:
        """Raises BadSetting, in words."""
        if self.kind not in KINDS:
            raise BadSetting(f"period.kind is {self.kind!r}; it is one of {', '.join(KINDS)}")
        most = {"week": 7, "month": 28, "hours": HOURS_MAX}.get(self.kind, 1)
        if not 1 <= self.start <= most:
            raise BadSetting(f"period.start of a {self.kind} is from 1 to {most}")
        zone(self.tz)

    def window(self, at_s: int) -> Window:
        """The window that an instant falls into."""
        return _window(self, at_s)

    def find_window(self, at_s: int) -> Window:
        """As `window`, which remembers what was found: calls of one second share it."""
        if self.kind in {"lifetime", "run"}:
            return Window(self.kind, self.kind, 0, FOREVER_S)
        at_s = min(max(at_s, EARLIEST_S), LATEST_S)
        if self.kind == "hours":
            hour = at_s // HOUR_S
            first = hour - self.start
            return Window(_hour(hour), _hour(first), first * HOUR_S, (hour + 1) * HOUR_S)
        day, starts_at, ends_at = self._days(at_s)
        key = f"{self.kind} {day.isoformat()} {self.tz}"
        return Window(key, key, starts_at, ends_at)

    def windows(self, since_s: int, until_s: int) -> Iterator[tuple[int, int]]:
        """The windows that [since, until) touches, of a period that has days, in order."""
        at_s = min(max(since_s, EARLIEST_S), LATEST_S)
        while at_s < min(until_s, LATEST_S):
            _, starts_at, ends_at = self._days(at_s)
            yield starts_at, ends_at
            at_s = ends_at

    def _days(self, at_s: int) -> tuple[date, int, int]:
        """The day it starts on, when that is, and when it ends."""
        place = zone(self.tz)
        day = self._first(datetime.fromtimestamp(at_s, place).date())
        # Where the clocks go back over midnight, a day's last minutes come again after its end.
        while at_s >= (ends_at := midnight(self._next(day), place)):
            day = self._next(day)
        return day, midnight(day, place), ends_at

    def _first(self, day: date) -> date:
        if self.kind == "week":
            return day - timedelta((day.isoweekday() - self.start) % 7)
        if self.kind == "month":
            return (day - timedelta(self.start - 1)).replace(day=self.start)
        return day

    def _next(self, day: date) -> date:
        if self.kind == "month":
            return (day.replace(day=1) + timedelta(31)).replace(day=self.start)
        return day + timedelta(7 if self.kind == "week" else 1)


@lru_cache(1024)
def _window(period: Period, at_s: int) -> Window:
    return period.find_window(at_s)


def midnight(day: date, place: ZoneInfo) -> int:
    """When a day begins; where clocks skip midnight, when they do."""
    return int(datetime.combine(day, time(), place).timestamp())


@lru_cache(256)
def zone(name: str) -> ZoneInfo:
    """Raises BadSetting: there is no such time zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise BadSetting(
            f"{name!r} is no time zone; write an IANA name, as Asia/Seoul or UTC"
        ) from None


def _hour(number: int) -> str:
    return datetime.fromtimestamp(number * HOUR_S, UTC).strftime("hours %Y-%m-%dT%H")
