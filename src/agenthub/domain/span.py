"""Spans of time, in integer nanoseconds: no rule of the hub computes time in floats."""

from typing import TypeAlias

Nanoseconds: TypeAlias = int
"""A monotonic instant, or a span between two. It has no date and never goes back."""

MICROSECOND: Nanoseconds = 1_000
MILLISECOND: Nanoseconds = 1_000_000
SECOND: Nanoseconds = 1_000_000_000


def milliseconds(span: Nanoseconds) -> int:
    """The span in whole milliseconds, rounded up: who waits as told has waited long enough."""
    return -(-span // MILLISECOND)
