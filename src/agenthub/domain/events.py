"""What happened, for whoever wants to know: the event stream, the history, the metrics.

Events are raised by machines and by the gateway; telemetry alone turns them into anything else.
"""

from msgspec import Struct


class Event(Struct, frozen=True, tag_field="event"):
    """Something that happened; `at_ms` is wall time and for people only."""

    at_ms: int


class BreakerChanged(Event, frozen=True, tag="breaker"):
    endpoint: str
    tool: str
    """Empty: the server's breaker."""
    before: str
    after: str
    generation: int
    cause: str
    level: int
    retry_after_ms: int | None
    counts: dict[str, int]


class ServerChanged(Event, frozen=True, tag="server"):
    endpoint: str
    state: str
    """`connected`, `lost`, `unreachable`, `added`, `changed`, `removed`, `listed`; `pending`: tools
    wait for approval; `approved`: they do not any more."""
    detail: str = ""


class ViewChanged(Event, frozen=True, tag="view"):
    view: str
    state: str
    """`added`, `changed` or `removed`."""


class CallEnded(Event, frozen=True, tag="call"):
    id: str
    endpoint: str
    served_by: str
    method: str
    name: str
    outcome: str
    attempts: int
    duration_us: int


class Traffic(Event, frozen=True, tag="traffic"):
    """Once a second while somebody listens: what went through since the last one."""

    calls: int
    failed: int
    in_flight: int


class BudgetReached(Event, frozen=True, tag="budget"):
    """What is spent in a budget's present window has reached a level, the first time."""

    budget: str
    level: str
    """`warning`, `critical` or `blocked`."""
    spent_usd: str
    limit_usd: str
    """With what was credited."""
    starts_at: int
    ends_at: int


class ClockEvent(Event, frozen=True, tag="clock"):
    kind: str
    """`clock_step` (wall time jumped, R18) or `stall` (the process was stopped, R19)."""
    detail: str
