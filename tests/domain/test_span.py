"""Spans of time in whole numbers."""

import pytest

from agenthub.domain.span import MICROSECOND, MILLISECOND, SECOND, milliseconds


@pytest.mark.parametrize(
    ("span", "shown"),
    [(0, 0), (1, 1), (MILLISECOND, 1), (MILLISECOND + 1, 2), (SECOND, 1_000), (MICROSECOND, 1)],
)
def test_milliseconds_are_rounded_up(span, shown):
    """Who waits as told has waited long enough."""
    assert milliseconds(span) == shown
