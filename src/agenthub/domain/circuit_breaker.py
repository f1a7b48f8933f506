"""A circuit breaker: leaves a failing server alone, and finds out when it is well again."""

from msgspec import Struct


class BreakerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How soon a breaker opens, and how long it stays open. Source: rule set §4.2, its defaults."""

    failure_threshold: int = 5
    """Failures in a row (distinct evidence, R6) that open it. From 1 to 1,000."""
    recovery_timeout_ms: int = 5_000
    """Base of the open time, which doubles with each level. From 10 to 300,000."""
    max_open_ms: int = 120_000
    window_ms: int = 30_000
    """The rates below are counted over this span, in ten buckets."""
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_call_ms: int = 10_000
    slow_rate: float = 0.8
    overdue_calls: int = 5
    probes: int = 1
    """In flight at once while half-open."""
    probes_to_close: int = 2
    probe_lease_ms: int = 61_000
    stable_ms: int = 60_000
    """Tripping again within this span of closing raises the level."""
    ramp: int = 4
    """Calls in flight just after closing; doubles each clean second."""
