"""How old a kept breaker is, whatever the clocks did meanwhile (R17)."""

import pytest

from agenthub.domain.breaker_record import AGE_MAX, Record, State
from agenthub.domain.span import SECOND

NOW, WALL = 1_000 * SECOND, 1_800_000_000 * SECOND
KEPT = Record(State.OPEN, 1, 0, NOW, WALL, "boot-1")


@pytest.mark.parametrize(
    ("now", "wall", "boot", "age"),
    [
        (NOW + 5, WALL + 99, "boot-1", 5),
        (NOW, WALL + 99, "boot-1", 0),
        (NOW - 1, WALL + 99, "boot-1", 99),
        (NOW + 5, WALL + 99, "boot-2", 99),
        (0, WALL, "boot-2", 0),
        (0, WALL - 1, "boot-2", 0),
        (0, WALL + AGE_MAX, "boot-2", AGE_MAX),
        (0, WALL + AGE_MAX + 1, "boot-2", 0),
    ],
)
def test_the_machines_own_clock_counts_while_it_runs_and_then_the_wall(now, wall, boot, age):
    assert KEPT.age(now, wall, boot) == age


def test_without_a_name_two_boots_are_not_the_same():
    nameless = Record(State.OPEN, 1, 0, NOW, WALL, "")
    assert nameless.age(NOW + 5, WALL + 99, "") == 99
