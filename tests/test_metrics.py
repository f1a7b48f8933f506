import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from agenthub.domain.events import BreakerChanged, ServerChanged
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.metrics import BOUNDS, KINDS_MAX, NAMES_MAX, Gauge, Histogram, Metrics


@pytest.fixture
def metrics():
    return Metrics()


LINE = re.compile(
    r'agenthub_[a-z_]+(\{[a-z]+="[A-Za-z0-9_.+-]*"(,[a-z]+="[A-Za-z0-9_.+-]*")*\})? \S+'
)


def lines(metrics):
    return metrics.render().decode().splitlines()


def test_the_page_for_prometheus(metrics):
    metrics.call_ended("calc", "ok", 3 * MILLISECOND, 1)
    metrics.call_ended("calc", "ok", 70 * SECOND, 2)
    metrics.call_ended("calc", "timeout", SECOND, 3)
    metrics.rejected("calc", "circuit_open")
    metrics.transition("calc", "open")
    metrics.fallback("calc", "twin")
    metrics.gauge(Gauge("servers", "Servers by state.", "state", lambda: {"ok": 2, "down": 1}))
    metrics.gauge(Gauge("calls_in_flight", "Calls under way.", "", lambda: {"": 5}))
    shown = [line for line in lines(metrics) if "_bucket" not in line]
    assert shown == snapshot(
        [
            "# HELP agenthub_calls_total Calls that ended, by outcome.",
            "# TYPE agenthub_calls_total counter",
            'agenthub_calls_total{endpoint="calc",outcome="ok"} 2',
            'agenthub_calls_total{endpoint="calc",outcome="timeout"} 1',
            "# HELP agenthub_rejections_total Calls that a guard stopped.",
            "# TYPE agenthub_rejections_total counter",
            'agenthub_rejections_total{endpoint="calc",reason="circuit_open"} 1',
            "# HELP agenthub_breaker_transitions_total Changes of circuit breakers.",
            "# TYPE agenthub_breaker_transitions_total counter",
            'agenthub_breaker_transitions_total{endpoint="calc",to="open"} 1',
            "# HELP agenthub_fallbacks_total Calls that another server answered.",
            "# TYPE agenthub_fallbacks_total counter",
            'agenthub_fallbacks_total{endpoint="calc",to="twin"} 1',
            "# HELP agenthub_attempts_total Requests sent to servers.",
            "# TYPE agenthub_attempts_total counter",
            'agenthub_attempts_total{endpoint="calc"} 6',
            "# HELP agenthub_call_duration_seconds How long calls took.",
            "# TYPE agenthub_call_duration_seconds histogram",
            'agenthub_call_duration_seconds_sum{endpoint="calc"} 71.003',
            'agenthub_call_duration_seconds_count{endpoint="calc"} 3',
            "# HELP agenthub_budget_alerts_total Levels that budgets reached.",
            "# TYPE agenthub_budget_alerts_total counter",
            "# HELP agenthub_servers Servers by state.",
            "# TYPE agenthub_servers gauge",
            'agenthub_servers{state="down"} 1',
            'agenthub_servers{state="ok"} 2',
            "# HELP agenthub_calls_in_flight Calls under way.",
            "# TYPE agenthub_calls_in_flight gauge",
            "agenthub_calls_in_flight 5",
        ]
    )
    buckets = [line.split() for line in lines(metrics) if "_bucket" in line]
    assert len(buckets) == len(BOUNDS) + 1
    assert dict(buckets)['agenthub_call_duration_seconds_bucket{endpoint="calc",le="0.005"}'] == "1"
    assert dict(buckets)['agenthub_call_duration_seconds_bucket{endpoint="calc",le="60"}'] == "2"
    assert dict(buckets)['agenthub_call_duration_seconds_bucket{endpoint="calc",le="+Inf"}'] == "3"


def test_the_same_for_the_api(metrics):
    for n in range(1, 101):
        metrics.call_ended("calc", "ok" if n > 10 else "tool_error", n * MILLISECOND, 1)
    metrics.call_ended("other", "circuit_open", 0, 0)
    metrics.rejected("other", "circuit_open")
    metrics.gauge(Gauge("servers", "Servers.", "", lambda: {"": 2}))
    assert metrics.snapshot() == snapshot(
        {
            "calls": 101,
            "failed": 1,
            "budget_alerts": {},
            "endpoints": {
                "calc": {
                    "outcomes": {"tool_error": 10, "ok": 90},
                    "attempts": 100,
                    "rejections": {},
                    "transitions": {},
                    "fallbacks": {},
                    "latency_ms": {"p50": 50.0, "p95": 95.0, "p99": 99.0},
                },
                "other": {
                    "outcomes": {"circuit_open": 1},
                    "attempts": 0,
                    "rejections": {"circuit_open": 1},
                    "transitions": {},
                    "fallbacks": {},
                    "latency_ms": {"p50": 0.5, "p95": 0.5, "p99": 0.5},
                },
            },
            "gauges": {"servers": {"": 2}},
        }
    )
    assert metrics.totals() == (101, 1)


def test_a_million_made_up_names_take_no_memory(metrics):
    """A45."""
    for n in range(20_000):
        metrics.call_ended(f"made-up-{n}", f"outcome-{n}", 1, 1)
        metrics.rejected("known", f"reason-{n}")
    assert len(metrics._series) == NAMES_MAX + 1
    assert len(metrics._series["known"].rejections) == KINDS_MAX + 1
    assert metrics.totals()[0] == 20_000


@pytest.mark.parametrize("name", ['a"} 1\nx 2', "\x1b[31m", "ü", "", "x" * 81, "a b", "{", "\\"])
def test_a_name_that_is_no_plain_name_is_counted_as_other(metrics, name):
    """A50: nothing a client makes up is written as it is."""
    metrics.call_ended(name, name, 1, 1)
    metrics.fallback(name, name)
    metrics.gauge(Gauge("g", "A gauge.", "server", lambda: {name: 1}))
    page = lines(metrics)
    assert 'agenthub_calls_total{endpoint="_other",outcome="_other"} 1' in page
    assert 'agenthub_g{server="_other"} 1' in page
    assert all(line.startswith("# ") or LINE.fullmatch(line) for line in page)


def test_a_gauge_shows_a_bounded_number_of_values(metrics):
    metrics.gauge(Gauge("g", "A gauge.", "server", lambda: {f"s{n}": n for n in range(5_000)}))
    assert len([line for line in lines(metrics) if line.startswith("agenthub_g{")]) == NAMES_MAX


def test_breakers_are_counted_from_the_events(metrics):
    metrics.event(ServerChanged(0, "calc", "lost"))
    metrics.event(BreakerChanged(0, "calc", "", "closed", "open", 1, "rate", 0, 5, {}))
    assert 'agenthub_breaker_transitions_total{endpoint="calc",to="open"} 1' in lines(metrics)
    assert len(metrics._series) == 1


def test_an_empty_histogram_has_no_quantiles():
    assert Histogram().quantile(990) == 0


@pytest.mark.parametrize(("span", "bucket"), [(0, 0), (BOUNDS[0], 0), (BOUNDS[0] + 1, 1)])
def test_a_bucket_holds_what_is_at_most_its_bound(span, bucket):
    metrics = Metrics()
    metrics.call_ended("calc", "ok", span, 1)
    assert metrics._series["calc"].latency.buckets[bucket] == 1


@given(st.lists(st.integers(0, 90 * SECOND), min_size=1, max_size=200), st.integers(1, 1_000))
def test_a_quantile_is_in_the_bucket_of_the_true_one(spans, per_mille):
    metrics = Metrics()
    for span in spans:
        metrics.call_ended("calc", "ok", span, 1)
    histogram = metrics._series["calc"].latency
    true = sorted(spans)[-(-len(spans) * per_mille // 1_000) - 1]
    low = max((b for b in BOUNDS if b < true), default=0)
    high = min((b for b in BOUNDS if b >= true), default=BOUNDS[-1])
    assert low <= histogram.quantile(per_mille) <= high
    assert histogram.count == len(spans)
    assert histogram.total == sum(spans)
