"""The sliding window, against one that remembers every call."""

from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.span import SECOND
from agenthub.domain.window import Recent, Window

calls = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 5), st.integers(0, 400)), st.booleans(), st.booleans()
    ),
    max_size=60,
)  # fmt: skip


class Patient:
    """Remembers every call, with the number of its bucket."""

    def __init__(self, width, start):
        self.width, self.start, self.calls = width, start, []

    def bucket(self, now):
        return (now - self.start) // self.width

    def totals(self, now):
        last = self.bucket(now)
        kept = [call for call in self.calls if call[0] > last - 10]
        return len(kept), sum(call[1] for call in kept), sum(call[2] for call in kept)


@given(calls=calls, start=st.integers(0, 1_000))
def test_it_counts_like_one_that_remembers_everything(calls, start):
    window, now = Window(100), start
    patient = Patient(10, start - start % 10)
    for span, failed, slow in calls:
        now += span
        window.add(now, failed=failed, slow=slow)
        patient.calls.append((patient.bucket(now), failed, slow))
        assert window.totals(now) == patient.totals(now)


def test_a_call_is_counted_for_nine_buckets_at_least_and_ten_at_most():
    window = Window(10 * SECOND)
    window.add(0, failed=True, slow=False)
    assert window.totals(10 * SECOND - 1) == (1, 1, 0)
    assert window.totals(10 * SECOND) == (0, 0, 0)
    window.add(21 * SECOND - 1, failed=False, slow=True)
    assert window.totals(30 * SECOND - 1) == (1, 0, 1)
    assert window.totals(30 * SECOND) == (0, 0, 0)


def test_time_that_is_taken_back_did_not_pass():
    window = Window(10 * SECOND)
    window.add(0, failed=False, slow=False)
    window.shift(60 * SECOND)
    assert window.totals(70 * SECOND - 1) == (1, 0, 0)
    assert window.totals(70 * SECOND) == (0, 0, 0)


def test_resized_it_keeps_the_counts_and_not_what_it_had_forgotten():
    window = Window(10 * SECOND)
    window.add(0, failed=True, slow=True)
    window.add(5 * SECOND, failed=True, slow=False)
    other = window.resized(SECOND, 12 * SECOND)
    assert other.totals(12 * SECOND) == (1, 1, 0)
    assert other.totals(13 * SECOND) == (0, 0, 0)


def test_the_last_numbers_are_remembered_and_the_oldest_forgotten():
    recent = Recent()
    assert not any(recent.knows(number) for number in range(64))
    assert recent.knows(0)
    assert not recent.knows(64)
    assert recent.knows(1)
    assert not recent.knows(0)
    assert not recent.knows(1)
