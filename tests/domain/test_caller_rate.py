"""Callers' own limits: whose bucket it is, what changes it, and how many are kept."""

import pytest
from msgspec import structs

from agenthub.domain import caller_rate
from agenthub.domain.caller import Caller
from agenthub.domain.caller_rate import CallerRates, rate_words
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.errors import RateLimited
from agenthub.domain.span import MILLISECOND, SECOND

ANNA = Caller("anna", frozenset(), rate_limit=RateLimit(1, 2))
BERT = structs.replace(ANNA, id="bert")


@pytest.fixture
def rates():
    return CallerRates()


def passes(rates, caller, now):
    try:
        rates.take(caller, now)
    except RateLimited:
        return False
    return True


def test_who_has_no_limit_is_not_counted(rates):
    free = structs.replace(ANNA, rate_limit=None)
    assert all(passes(rates, free, 0) for _ in range(1_000))
    assert not len(rates)


def test_a_burst_and_then_the_rate(rates):
    assert [passes(rates, ANNA, 0) for _ in range(3)] == [True, True, False]
    assert [passes(rates, ANNA, SECOND) for _ in range(2)] == [True, False]


def test_what_is_refused_is_told_when_to_come_again_and_why(rates):
    for _ in range(2):
        rates.take(ANNA, 0)
    with pytest.raises(RateLimited, match="than this caller may make: 1/s, 2 at once") as refused:
        rates.take(ANNA, 1)
    assert refused.value.retry_after_ms == 1_000
    assert not passes(rates, ANNA, 999 * MILLISECOND)
    assert passes(rates, ANNA, SECOND)


def test_each_caller_has_its_own(rates):
    assert [passes(rates, ANNA, 0) for _ in range(3)] == [True, True, False]
    assert passes(rates, BERT, 0)


def test_a_new_limit_finds_the_tokens_that_are_in_use(rates):
    """Else each change would be a burst for nothing."""
    assert [passes(rates, ANNA, 0) for _ in range(3)] == [True, True, False]
    more = structs.replace(ANNA, rate_limit=RateLimit(1, 3))
    assert [passes(rates, more, 0) for _ in range(2)] == [True, False]
    fewer = structs.replace(ANNA, rate_limit=RateLimit(0.5, 1))
    assert not passes(rates, fewer, SECOND)


def test_buckets_that_are_full_again_make_room(rates, monkeypatch):
    monkeypatch.setattr(caller_rate, "KEPT_MAX", 2)
    for caller in (ANNA, BERT):
        rates.take(caller, 0)
    assert passes(rates, structs.replace(ANNA, id="carl"), 10 * SECOND)
    assert len(rates) == 1


def test_where_none_is_full_who_asked_longest_ago_makes_room(rates, monkeypatch):
    monkeypatch.setattr(caller_rate, "KEPT_MAX", 2)
    for caller in (ANNA, BERT, ANNA):
        rates.take(caller, 0)
    rates.take(structs.replace(ANNA, id="carl"), 0)
    assert len(rates) == 2
    assert not passes(rates, ANNA, 0), "who asked last is still known"


@pytest.mark.parametrize(
    ("rps", "words"),
    [(5, "5/s"), (1, "1/s"), (1.5, "90/m"), (100 / 60, "100/m"), (1 / 3600, "1/h"),
     (1000 / 86_400, "1000/d"), (0.1234567891, "0.123457/s"), (1e-6, "1e-06/s")],
)  # fmt: skip
def test_a_rate_in_words(rps, words):
    assert rate_words(rps) == words
