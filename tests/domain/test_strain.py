"""What the hub itself can bear, by its loop's lag and its memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.strain import FEWEST, LAG_MAX, NO_CALLS, NO_STREAMS, STEP, Strain

LOOK = 100 * MILLISECOND
LATE = LAG_MAX + 1
PLACES = 1_000


class Looked:
    """A strain that is looked at ten times a second."""

    def __init__(self, places: int = PLACES) -> None:
        self.strain = Strain(places)
        self.now = 1_000 * SECOND

    def look(self, lag: int = 0, times: int = 1, in_flight: int = PLACES) -> int:
        for _ in range(times):
            self.now += LOOK
            self.strain.looked(lag, in_flight, self.now)
        return self.strain.places


def test_a_hub_that_is_on_time_bears_what_it_was_told():
    looked = Looked()
    assert looked.look(LAG_MAX, 100) == PLACES
    assert (looked.strain.problem, looked.strain.takes_streams) == ("", True)
    assert looked.strain.lag == LAG_MAX


def test_lag_of_a_second_takes_a_tenth_of_the_calls_in_flight():
    looked = Looked()
    assert looked.look(LATE, 10, in_flight=500) == PLACES
    assert looked.look(LATE, in_flight=500) == 450
    assert looked.look(LATE, 9, in_flight=500) == 450
    assert looked.look(LATE, in_flight=500) == 405, "and again after another one"
    assert looked.strain.problem == "the event loop lags: at most 405 calls at a time are taken"


def test_lag_with_pauses_is_no_lasting_one():
    looked = Looked()
    for _ in range(20):
        looked.look(LATE, 10)
        assert looked.look() == PLACES


def test_a_process_that_stood_still_for_an_hour_is_not_overloaded():
    looked = Looked()
    looked.look(3_600 * SECOND)
    looked.now += 3_600 * SECOND
    assert looked.look(0, 20) == PLACES


def test_it_never_bears_fewer_than_a_few():
    assert Looked().look(LATE, 1_000, in_flight=0) == FEWEST
    assert Looked(5).look(LATE, 1_000, in_flight=5) == 5, "nor more than it was told"


def test_after_the_lag_it_bears_a_step_more_each_second_up_to_what_it_was_told():
    looked = Looked(100)
    assert looked.look(LATE, 11, in_flight=60) == 54
    assert looked.look(0, 9) == 54
    assert looked.look() == 54 + STEP
    assert looked.look(0, 10) == 54 + 2 * STEP
    assert looked.look(0, 10) == 100
    assert looked.strain.problem == ""


@pytest.mark.parametrize(
    ("memory", "places", "streams"),
    [
        (NO_STREAMS - 1, PLACES, True), (NO_STREAMS, PLACES, False),
        (NO_CALLS - 1, PLACES, False), (NO_CALLS, FEWEST, False), (2_000, FEWEST, False),
    ],
)  # fmt: skip
def test_memory_takes_streams_first_and_then_calls(memory: int, places: int, *, streams: bool):
    strain = Strain(PLACES)
    strain.memory = memory
    assert (strain.places, strain.takes_streams) == (places, streams)
    assert ("streams" in strain.problem) is not streams
    assert ("calls" in strain.problem) is (places < PLACES)
    if strain.problem:
        assert strain.problem.startswith(f"{memory // 10} % of its memory is used")


def test_what_lag_has_taken_memory_does_not_give_back():
    looked = Looked(5)
    looked.strain.memory = NO_CALLS
    assert looked.strain.places == 5


@given(st.lists(st.tuples(st.integers(0, 5 * LAG_MAX), st.integers(0, 2 * PLACES))))
def test_it_always_bears_some_calls_and_never_more_than_it_was_told(looks):
    looked = Looked()
    for lag, in_flight in looks:
        assert FEWEST <= looked.look(lag, in_flight=in_flight) <= PLACES
