"""Counters, gauges and histograms of the hub, and their text for Prometheus.

Written by hand because it is on the path of each call: one observation costs a list index and a
bisection, where a client library costs several times that. Memory is bounded: a label takes at
most `NAMES_MAX` values, and what comes after, or is no plain name, is counted as `_other` (A45).
Source: Prometheus text format 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from agenthub.domain.events import BreakerChanged, BudgetReached, Event
from agenthub.domain.span import MICROSECOND, MILLISECOND, SECOND, Nanoseconds

NAMES_MAX: Final = 1_000
"""Different values of one label."""
KINDS_MAX: Final = 64
"""Different outcomes, reasons or targets of one endpoint."""
OTHER: Final = "_other"
PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
"""What may stand as a label's value; nothing in it needs escaping."""
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

BOUNDS: Final[tuple[Nanoseconds, ...]] = tuple(
    span * MICROSECOND
    for span in (
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
    )
)  # fmt: skip
"""Upper bounds of the latency buckets, from half a millisecond to a minute."""

Reading: TypeAlias = Callable[[], Mapping[str, int | float]]
"""A gauge's values by label; the empty label for a gauge that has none."""
Sample: TypeAlias = tuple[str, int | float]
"""Labels as they are written, and a value."""


class Histogram:
    """Counts by bucket, and the sum."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total: Nanoseconds = 0

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def quantile(self, per_mille: int) -> Nanoseconds:
        """The span that so many of a thousand do not exceed; linear within its bucket."""
        rank = -(-self.count * per_mille // 1_000)
        below = 0
        for place, number in enumerate(self.buckets):
            if number and below + number >= rank:
                low = BOUNDS[place - 1] if place else 0
                high = BOUNDS[place] if place < len(BOUNDS) else BOUNDS[-1]
                return low + (high - low) * (rank - below) // number
            below += number
        return 0


class Series:
    """What is counted of one endpoint."""

    __slots__ = ("attempts", "fallbacks", "latency", "outcomes", "rejections", "transitions")

    def __init__(self) -> None:
        self.latency = Histogram()
        self.attempts = 0
        self.outcomes: dict[str, int] = {}
        self.rejections: dict[str, int] = {}
        self.transitions: dict[str, int] = {}
        self.fallbacks: dict[str, int] = {}


class Gauge(Struct, frozen=True):
    """A value that is read when it is asked for."""

    name: str
    """With its unit, without `agenthub_`."""
    help: str
    label: str
    """The label's name; empty for a gauge without one."""
    read: Reading


class Metrics:
    """All that is counted. Counting never fails; reading costs no call anything."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._alerts: dict[str, int] = {}
        """Of budgets, by level."""
        self._gauges: list[Gauge] = []

    # ------------------------------------------------------------ counting

    def call_ended(self, endpoint: str, outcome: str, duration: Nanoseconds, attempts: int) -> None:
        series = self._series.get(endpoint) or self._of(endpoint)
        latency = series.latency
        latency.buckets[bisect_left(BOUNDS, duration)] += 1
        latency.total += duration
        series.attempts += attempts
        outcomes = series.outcomes
        if outcome in outcomes:
            outcomes[outcome] += 1
        else:
            _count(outcomes, outcome)

    def rejected(self, endpoint: str, reason: str) -> None:
        """A guard said no before anything was sent."""
        _count(self._of(endpoint).rejections, reason)

    def transition(self, endpoint: str, to: str) -> None:
        """A breaker of this endpoint changed to this state."""
        _count(self._of(endpoint).transitions, to)

    def fallback(self, endpoint: str, to: str) -> None:
        """Another server answered for this one."""
        _count(self._of(endpoint).fallbacks, to)

    def event(self, event: Event) -> None:
        """A sink of the bus: counts what breakers do, and what budgets reach."""
        if isinstance(event, BreakerChanged):
            self.transition(event.endpoint, event.after)
        elif isinstance(event, BudgetReached):
            _count(self._alerts, event.level)

    def gauge(self, gauge: Gauge) -> None:
        """Show this from now on."""
        self._gauges.append(gauge)

    def _of(self, endpoint: str) -> Series:
        series = self._series.get(endpoint)
        if series is None:
            if endpoint != OTHER and (
                len(self._series) >= NAMES_MAX or not PLAIN.fullmatch(endpoint)
            ):
                return self._of(OTHER)
            series = self._series[endpoint] = Series()
        return series

    # ------------------------------------------------------------ reading

    def totals(self) -> tuple[int, int]:
        """Calls that ended, and how many of them with an error of the hub or of the protocol."""
        calls = failed = 0
        for series in self._series.values():
            for outcome, number in series.outcomes.items():
                calls += number
                failed += 0 if outcome in WELL else number
        return calls, failed

    def snapshot(self) -> dict[str, object]:
        """The same as `render`, for `/api/gateway/metrics`."""
        calls, failed = self.totals()
        return {
            "calls": calls,
            "failed": failed,
            "budget_alerts": dict(self._alerts),
            "endpoints": {name: _shown(series) for name, series in sorted(self._series.items())},
            "gauges": {gauge.name: dict(gauge.read()) for gauge in self._gauges},
        }

    def render(self) -> bytes:
        """The page that Prometheus reads."""
        lines: list[str] = []
        for name, text, pick in COUNTERS:
            lines += _metric(name, "counter", text, self._by_kind(*pick))
        attempts = ((f'{{endpoint="{n}"}}', s.attempts) for n, s in sorted(self._series.items()))
        lines += _metric("attempts_total", "counter", "Requests sent to servers.", attempts)
        lines += _metric(
            "call_duration_seconds", "histogram", "How long calls took.", self._latencies()
        )
        alerts = ((f'{{level="{level}"}}', n) for level, n in sorted(self._alerts.items()))
        lines += _metric("budget_alerts_total", "counter", "Levels that budgets reached.", alerts)
        for gauge in self._gauges:
            lines += _metric(gauge.name, "gauge", gauge.help, _readings(gauge))
        return ("\n".join(lines) + "\n").encode()

    def _by_kind(self, attribute: str, label: str) -> Iterator[Sample]:
        for name, series in sorted(self._series.items()):
            counter: dict[str, int] = getattr(series, attribute)
            for kind, number in sorted(counter.items()):
                yield f'{{endpoint="{name}",{label}="{kind}"}}', number

    def _latencies(self) -> Iterator[Sample]:
        for name, series in sorted(self._series.items()):
            below = 0
            for bound, number in zip(BOUNDS, series.latency.buckets, strict=False):
                below += number
                yield f'_bucket{{endpoint="{name}",le="{bound / SECOND:g}"}}', below
            count = series.latency.count
            yield f'_bucket{{endpoint="{name}",le="+Inf"}}', count
            yield f'_sum{{endpoint="{name}"}}', series.latency.total / SECOND
            yield f'_count{{endpoint="{name}"}}', count


WELL: Final = frozenset({"ok", "tool_error", "input_required"})
"""Outcomes in which the server answered."""
COUNTERS: Final = (
    ("calls_total", "Calls that ended, by outcome.", ("outcomes", "outcome")),
    ("rejections_total", "Calls that a guard stopped.", ("rejections", "reason")),
    ("breaker_transitions_total", "Changes of circuit breakers.", ("transitions", "to")),
    ("fallbacks_total", "Calls that another server answered.", ("fallbacks", "to")),
)


def _count(counter: dict[str, int], kind: str) -> None:
    if kind not in counter and (len(counter) >= KINDS_MAX or not PLAIN.fullmatch(kind)):
        kind = OTHER
    counter[kind] = counter.get(kind, 0) + 1


def _metric(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP agenthub_{name} {text}"
    yield f"# TYPE agenthub_{name} {kind}"
    for labels, value in samples:
        yield f"agenthub_{name}{labels} {value}"


def _readings(gauge: Gauge) -> Iterator[Sample]:
    for place, (name, value) in enumerate(sorted(gauge.read().items())):
        if place >= NAMES_MAX:
            return
        shown = name if PLAIN.fullmatch(name) else OTHER
        yield (f'{{{gauge.label}="{shown}"}}' if gauge.label else ""), value


def _shown(series: Series) -> dict[str, object]:
    latency = series.latency
    return {
        "outcomes": dict(series.outcomes),
        "attempts": series.attempts,
        "rejections": dict(series.rejections),
        "transitions": dict(series.transitions),
        "fallbacks": dict(series.fallbacks),
        "latency_ms": {
            name: round(latency.quantile(rank) / MILLISECOND, 3)
            for name, rank in (("p50", 500), ("p95", 950), ("p99", 990))
        },
    }
