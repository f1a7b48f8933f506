"""The settings of a circuit breaker."""

from msgspec import Struct

from agenthub.domain.span import MILLISECOND, Nanoseconds


class BreakerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How soon a breaker opens, and how long it stays open. Source: rule set §4.2, its defaults."""

    failure_threshold: int = 5
    """Failures in a row (distinct evidence, R6) that open it. From 1 to 1,000."""
    recovery_timeout_ms: int = 5_000
    """Base of the open time, which doubles with each level. From 10 to 300,000."""
    max_open_ms: int = 120_000
    """The longest open time, jitter aside; never less than `recovery_timeout_ms`."""
    window_ms: int = 30_000
    """The rates below are counted over this span, in ten buckets."""
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_call_ms: int = 10_000
    slow_rate: float = 0.8
    overdue_calls: int = 5
    """In flight for longer than `slow_call_ms`, while no call ended within the window."""
    probes: int = 1
    """In flight at once while half-open."""
    probes_to_close: int = 2
    probe_lease_ms: int = 61_000
    stable_ms: int = 60_000
    """Tripping again within this span of closing raises the level; the ramp lasts no longer."""
    ramp: int = 4
    """Calls in flight just after closing; doubles each clean second."""


def longest_open(config: BreakerConfig) -> Nanoseconds:
    """The longest open time that the rules make, without a `Retry-After`."""
    return max(config.max_open_ms, config.recovery_timeout_ms) * MILLISECOND * 5 // 4
