"""The pauses between starts of a server's process."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from agenthub.domain.span import SECOND
from agenthub.outbound.restart import CAP, Restarts

chances = st.floats(min_value=0, max_value=1, exclude_max=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(chances, min_size=30, max_size=30))
def test_f03_a_crash_loop_has_at_most_six_starts_in_any_minute(draws: list[float]):
    restarts, now, begun = Restarts(), 0, [0]
    restarts.started(0)
    restarts.started(0)  # The try in the other era follows at once.
    begun.append(0)
    for chance in draws:
        now += restarts.ended(now, None, chance)
        begun.append(now)
        restarts.started(now)
    assert begun[2] <= SECOND // 2
    assert all(b - a >= 60 * SECOND for a, b in zip(begun, begun[6:], strict=False))
    assert all(b - a <= 60 * SECOND for a, b in pairwise(begun))
    assert restarts.count == 32


def test_the_pauses_grow_up_to_the_cap():
    restarts, now, waits = Restarts(), 0, []
    for _ in range(9):
        now += 10 * SECOND
        waits.append(restarts.ended(now, None, 0.999_999))
    assert [round(wait / SECOND, 1) for wait in waits[:5]] == [0.5, 1.5, 4.5, 13.5, 30]
    assert max(waits) <= CAP


def test_who_ran_well_for_a_minute_starts_afresh():
    restarts = Restarts()
    for _ in range(6):
        restarts.started(0)
        restarts.ended(0, None, 0)
    assert restarts.ended(SECOND, 0, 0) > 30 * SECOND
    assert restarts.ended(61 * SECOND, 0, 0) == SECOND // 4
