"""The throttle gate (R13)."""

import pytest

from agenthub.domain.span import SECOND
from agenthub.domain.throttle import RETRY_AFTER_MAX, ThrottleGate

NOW = 1_000 * SECOND
MIDDLE = 0.5
"""The chance that changes nothing."""


def pauses(gate, count, now=NOW):
    """The lengths of pauses that follow one another."""
    found = []
    for _ in range(count):
        gate.closed(now, None, MIDDLE)
        found.append(gate.wait(now))
        now += found[-1]
    return found


def test_it_is_open_until_a_server_pushes_back():
    assert ThrottleGate().wait(NOW) == 0


def test_it_is_closed_for_as_long_as_the_server_asked():
    gate = ThrottleGate()
    gate.closed(NOW, 7 * SECOND, MIDDLE)
    assert gate.wait(NOW) == 7 * SECOND
    assert gate.wait(NOW + 7 * SECOND - 1) == 1
    assert gate.wait(NOW + 7 * SECOND) == 0


def test_a_wish_is_capped():
    gate = ThrottleGate()
    gate.closed(NOW, 86_400 * SECOND, MIDDLE)
    assert gate.wait(NOW) == RETRY_AFTER_MAX == 300 * SECOND


def test_without_a_wish_each_pause_is_twice_as_long_up_to_a_minute():
    assert pauses(ThrottleGate(), 9) == [
        span * SECOND for span in (1, 2, 4, 8, 16, 32, 60, 60, 60)
    ]  # fmt: skip


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 750_000_000), (0.999_999_999, 1_249_999_999)])
def test_a_pause_varies_by_a_quarter(chance, pause):
    gate = ThrottleGate()
    gate.closed(NOW, None, chance)
    assert gate.wait(NOW) == pause


def test_no_pause_is_longer_than_a_minute_whatever_the_chance():
    gate = ThrottleGate()
    pauses(gate, 8)
    later = NOW + 1_000 * SECOND
    gate.closed(later, None, 0.999)
    assert gate.wait(later) == 60 * SECOND


def test_many_calls_refused_at_once_are_one_lesson():
    gate = ThrottleGate()
    for _ in range(100):
        gate.closed(NOW, None, MIDDLE)
    assert gate.wait(NOW) == 2 * SECOND, "the first raised the level, the others waited for it"
    later = NOW + 10 * SECOND
    gate.closed(later, None, MIDDLE)
    assert gate.wait(later) == 2 * SECOND


def test_a_later_wish_never_shortens_a_pause():
    gate = ThrottleGate()
    gate.closed(NOW, 30 * SECOND, MIDDLE)
    gate.closed(NOW, 1 * SECOND, MIDDLE)
    assert gate.wait(NOW) == 30 * SECOND


def test_a_success_makes_the_next_pause_short_again():
    gate = ThrottleGate()
    pauses(gate, 4)
    gate.succeeded()
    assert pauses(gate, 1, NOW + 100 * SECOND) == [SECOND]
