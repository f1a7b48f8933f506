"""What others see and keep of a circuit breaker: its states, transitions, records."""

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct

from agenthub.domain.span import SECOND, Nanoseconds


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"


class Transition(Struct, frozen=True):
    """A change of state, or an operator's word. `generation` strictly grows."""

    key: str
    before: State
    after: State
    generation: int
    cause: str
    level: int
    retry_after: Nanoseconds | None
    counts: dict[str, int]
    """Of the generation that ended; `retry_after_ms` is there when R8 capped what was asked."""


LEVEL_MAX: Final = 30
"""2^30 times any base is longer than any cap (R9)."""
NOTE_MAX: Final = 200


class Record(Struct, frozen=True, omit_defaults=True):
    """A breaker's state between two processes (R17). Spans are in nanoseconds."""

    state: State
    generation: Annotated[int, Meta(ge=0)]
    level: Annotated[int, Meta(ge=0, le=LEVEL_MAX)]
    now: Nanoseconds
    wall: Nanoseconds
    boot_id: str
    remaining: Annotated[Nanoseconds, Meta(ge=0)] | None = None
    """Of the open time, or of the operator's word."""
    closed_ago: Annotated[Nanoseconds, Meta(ge=0)] | None = None
    note: Annotated[str, Meta(max_length=NOTE_MAX)] = ""

    def age(self, now: Nanoseconds, wall: Nanoseconds, boot_id: str) -> Nanoseconds:
        """Time since it was kept: by the machine's own clock if it still runs, else by the wall."""
        if boot_id and self.boot_id == boot_id and now >= self.now:
            return now - self.now
        age = wall - self.wall
        return age if 0 <= age <= AGE_MAX else 0


AGE_MAX: Final[Nanoseconds] = 24 * 3600 * SECOND
"""A wall clock that moved further between two processes was set, and says nothing (R17)."""
