"""Backoff and the retry budget (R36, R37)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.retry import RetryBudget, backoff
from agenthub.domain.span import MILLISECOND, SECOND

MOST = 1 - 2**-53
"""The largest chance there is."""


@pytest.mark.parametrize(
    ("tries", "pushback", "most"),
    [
        (1, False, 50 * MILLISECOND),
        (2, False, 100 * MILLISECOND),
        (3, False, 200 * MILLISECOND),
        (9, False, 12_800 * MILLISECOND),
        (10, False, 20 * SECOND),
        (10_000, False, 20 * SECOND),
        (1, True, 1 * SECOND),
        (3, True, 4 * SECOND),
        (6, True, 20 * SECOND),
    ],
)
def test_the_span_doubles_with_each_try_up_to_the_cap(tries, pushback, most):
    assert backoff(tries, pushback, 0.0, None) == 0
    assert backoff(tries, pushback, 0.5, None) == most // 2
    assert most - 1_000 <= backoff(tries, pushback, MOST, None) <= most


@given(st.integers(1, 100), st.booleans(), st.floats(0, MOST), st.integers(0, 400 * SECOND))
def test_nobody_is_asked_earlier_than_he_wished(tries, pushback, chance, floor):
    free = backoff(tries, pushback, chance, None)
    assert backoff(tries, pushback, chance, floor) == max(free, floor)


def started(budget, count):
    for _ in range(count):
        budget.started()


@pytest.mark.parametrize(
    ("in_flight", "most"), [(0, 3), (15, 3), (19, 3), (20, 4), (24, 4), (25, 5), (1_000, 200)]
)
def test_three_retries_run_at_once_or_a_fifth_of_what_is_in_flight(in_flight, most):
    budget = RetryBudget()
    started(budget, most - 1)
    assert budget.may_retry(in_flight)
    budget.started()
    assert not budget.may_retry(in_flight)
    budget.ended()
    assert budget.may_retry(in_flight)


def test_nothing_is_retried_once_half_of_the_tokens_are_gone():
    budget = RetryBudget()
    for _ in range(4):
        budget.failed()
    assert budget.may_retry(0)
    budget.failed()
    assert not budget.may_retry(0)


def test_one_success_gives_a_tenth_of_what_a_failure_costs():
    budget = RetryBudget()
    for _ in range(6):
        budget.failed()
    for _ in range(10):
        budget.succeeded()
        assert not budget.may_retry(0)
    budget.succeeded()
    assert budget.may_retry(0)


def test_tokens_are_never_fewer_than_none():
    budget = RetryBudget()
    for _ in range(1_000):
        budget.failed()
    for _ in range(50):
        budget.succeeded()
    assert not budget.may_retry(0)
    budget.succeeded()
    assert budget.may_retry(0)


def test_tokens_are_never_more_than_ten():
    budget = RetryBudget()
    for _ in range(1_000):
        budget.succeeded()
    for _ in range(5):
        budget.failed()
    assert not budget.may_retry(0)


def test_a_retry_that_never_started_cannot_end():
    with pytest.raises(AssertionError):
        RetryBudget().ended()
