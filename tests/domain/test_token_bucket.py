"""The token bucket: what it gives in any interval, by example and by machine (R24-R26)."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agenthub.domain.endpoint import RateLimit
from agenthub.domain.span import SECOND
from agenthub.domain.token_bucket import TokenBucket

NOW = 1_000 * SECOND
rates = st.sampled_from([0.01, 0.1, 0.3, 1.0, 3.0, 5.0, 7.5, 100.0, 999.999, 1_000_000.0])
bursts = st.sampled_from([1, 2, 3, 10, 1_000])


def taken(bucket, count, now=NOW):
    return sum(bucket.take(now) == 0 for _ in range(count))


def test_of_a_hundred_at_once_the_burst_is_admitted_exactly():
    """F55."""
    assert taken(TokenBucket(RateLimit(5.0, 10)), 100) == 10


def test_the_wait_is_exact():
    bucket = TokenBucket(RateLimit(4.0, 1))
    assert bucket.take(NOW) == 0
    assert bucket.take(NOW) == SECOND // 4
    assert bucket.take(NOW + SECOND // 4 - 1) == 1
    assert bucket.take(NOW + SECOND // 4) == 0


def test_a_bucket_is_full_again_when_all_its_tokens_are_back():
    bucket = TokenBucket(RateLimit(3.0, 2))
    assert bucket.is_full(NOW)
    assert taken(bucket, 2) == 2
    assert not bucket.is_full(NOW + 666_666_666)
    assert bucket.is_full(NOW + 666_666_667)


def test_a_third_of_a_second_is_not_rounded_away():
    bucket = TokenBucket(RateLimit(3.0, 1))
    assert bucket.take(NOW) == 0
    assert bucket.take(NOW) == 333_333_334
    bucket, now, count = TokenBucket(RateLimit(3.0, 2)), NOW, 0
    while count < 3_002:
        wait = bucket.take(now)
        count += wait == 0
        now += wait
    assert now == NOW + 1_000 * SECOND


def test_a_token_comes_back_after_its_time_and_no_more_than_the_burst():
    bucket = TokenBucket(RateLimit(1.0, 3))
    assert taken(bucket, 9) == 3
    assert taken(bucket, 9, NOW + 2 * SECOND) == 2
    assert taken(bucket, 9, NOW + 1_000 * SECOND) == 3


def test_what_is_given_back_can_be_taken_again_and_no_more():
    bucket = TokenBucket(RateLimit(1.0, 3))
    assert taken(bucket, 3) == 3
    bucket.give_back(2)
    assert taken(bucket, 9) == 2
    bucket.give_back(99)
    assert taken(bucket, 9) == 3


def test_a_clock_that_was_set_back_does_not_stop_the_calls():
    bucket = TokenBucket(RateLimit(1.0, 3))
    assert taken(bucket, 9) == 3
    past = NOW - 3_600 * SECOND
    assert bucket.take(past) == SECOND
    assert bucket.take(past + SECOND) == 0
    assert bucket.take(past + SECOND) == SECOND


def test_the_slowest_rate_is_one_in_a_billion_seconds_and_not_never():
    bucket = TokenBucket(RateLimit(1e-300, 1))
    assert bucket.take(NOW) == 0
    assert bucket.take(NOW) == 10**9 * SECOND


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (RateLimit(1.0, 10), 6),
        (RateLimit(1.0, 5), 1),
        (RateLimit(1.0, 4), 0),
        (RateLimit(1.0, 2), 0),
        (RateLimit(100.0, 10), 6),
        (RateLimit(0.5, 10), 6),
    ],
)
def test_tokens_in_use_stay_in_use_when_the_limit_changes(limit, left):
    bucket = TokenBucket(RateLimit(1.0, 10))
    taken(bucket, 4)
    bucket.reconfigure(limit, NOW)
    assert taken(bucket, 99) == left


def test_a_new_rate_holds_at_once():
    bucket = TokenBucket(RateLimit(1.0, 1))
    bucket.take(NOW)
    bucket.reconfigure(RateLimit(10.0, 1), NOW)
    assert bucket.take(NOW) == SECOND // 10


def test_a_smaller_burst_is_no_longer_empty_than_its_own_size():
    bucket = TokenBucket(RateLimit(1.0, 1_000))
    taken(bucket, 1_000)
    bucket.reconfigure(RateLimit(1.0, 2), NOW)
    assert taken(bucket, 9, NOW + 2 * SECOND) == 2


def test_what_is_back_by_then_is_free_under_the_new_limit():
    bucket = TokenBucket(RateLimit(1.0, 4))
    taken(bucket, 4)
    bucket.reconfigure(RateLimit(1.0, 4), NOW + 100 * SECOND)
    assert taken(bucket, 9, NOW + 100 * SECOND) == 4


@given(rates, bursts, st.integers(0, 2**40), st.integers(1, 400))
def test_under_saturation_it_gives_what_the_rate_says(rate, burst, start, tokens):
    """R24: who asks again exactly when told to misses no token."""
    bucket, now, count = TokenBucket(RateLimit(rate, burst)), start, 0
    while count < burst + tokens:
        wait = bucket.take(now)
        count += wait == 0
        now += wait
    exact = Fraction(str(rate))
    assert (now - start) * exact / SECOND - 1 <= tokens <= (now - start) * exact / SECOND + 1


class BucketMachine(RuleBasedStateMachine):
    """No interval, however it lies, sees more than the burst and what the rate gives."""

    @initialize(rate=rates, burst=bursts, start=st.integers(0, 10**15))
    def begin(self, rate, burst, start):
        self.rate, self.burst = Fraction(str(rate)), burst
        self.bucket = TokenBucket(RateLimit(rate, burst))
        self.now = start
        self.taken: list[int] = []

    @rule(
        span=st.one_of(
            st.just(0),
            st.integers(1, 1_000),
            st.integers(0, SECOND),
            st.integers(0, 400 * SECOND),
            st.integers(0, 10**15),
        )
    )
    def time_passes(self, span):
        self.now += span

    @rule(times=st.integers(1, 30), kept=st.integers(0, 30))
    def take(self, times, kept):
        got = sum(self.bucket.take(self.now) == 0 for _ in range(times))
        back = max(got - kept, 0)
        self.bucket.give_back(back)
        self.taken += [self.now] * (got - back)
        self.bound()

    @rule()
    def wait_as_told(self):
        wait = self.bucket.take(self.now)
        if wait:
            assert self.bucket.take(self.now + wait - 1) == 1, "told to wait too long"
            self.now += wait
            assert self.bucket.take(self.now) == 0, "told to wait too short"
        self.taken.append(self.now)
        self.bound()

    def bound(self):
        recent = self.taken[-400:]
        for index, since in enumerate(recent):
            given_since = len(recent) - index
            span = self.now - since
            assert given_since <= self.burst + span * self.rate // SECOND


TestBucketMachine = BucketMachine.TestCase
TestBucketMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
