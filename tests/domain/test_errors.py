"""The error contract: codes, slugs and `data` (rule set §4.9)."""

import pytest

from agenthub.domain import errors
from agenthub.domain.errors import BY_SLUG, CircuitOpen, HubError, Refusal, refused
from agenthub.domain.span import MILLISECOND

CONTRACT = {
    "circuit_open": -31001, "rate_limited": -31002, "budget_exceeded": -31003,
    "deadline_exceeded": -31004, "overloaded": -31005, "upstream_unavailable": -31006,
    "outcome_unknown": -31007, "upstream_protocol": -31008, "response_too_large": -31009,
    "tool_changed": -31010, "forbidden": -31011, "throttled_upstream": -31012,
    "upstream_exhausted": -31013,
}  # fmt: skip


def kinds():
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, HubError) and kind is not HubError]


def test_codes_are_those_of_the_contract():
    assert {slug: BY_SLUG[slug].code for slug in CONTRACT} == CONTRACT


def test_every_error_is_found_by_its_own_slug():
    assert {kind.slug: kind for kind in kinds()} == BY_SLUG
    assert len(BY_SLUG) == len(kinds())


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.slug)
def test_an_error_is_well_formed(kind):
    assert kind.code == -32602 or -31099 <= kind.code <= -31001
    assert 400 <= kind.status < 600
    assert str(kind()).endswith(".")
    assert "\n" not in str(kind())


def test_what_may_be_tried_again_later_says_so():
    assert {kind.slug for kind in kinds() if kind.retryable} == {
        "circuit_open", "rate_limited", "deadline_exceeded", "overloaded",
        "upstream_unavailable", "throttled_upstream", "poisoned", "storage_failed",
    }  # fmt: skip


def test_the_data_has_the_same_keys_always():
    assert HubError().data() == {
        "code": "internal", "retryable": False, "retry_after_ms": None, "executed": "no",
        "server": "", "tool": "", "attempt_count": 0, "request_id": "",
    }  # fmt: skip
    error = CircuitOpen(
        "shut", retry_after_ms=7, executed="unknown", server="s", tool="t", attempt_count=2,
        request_id="r",
    )  # fmt: skip
    assert str(error) == "shut"
    assert error.data() == {
        "code": "circuit_open", "retryable": True, "retry_after_ms": 7, "executed": "unknown",
        "server": "s", "tool": "t", "attempt_count": 2, "request_id": "r",
    }  # fmt: skip


def test_a_refusal_becomes_its_error_and_its_wait_is_rounded_up():
    error = refused(Refusal("rate_limited", 3 * MILLISECOND + 1), server="s")
    assert type(error) is BY_SLUG["rate_limited"]
    assert (error.retry_after_ms, error.server) == (4, "s")


def test_a_refusal_without_a_wait_has_none():
    assert refused(Refusal("circuit_open")).retry_after_ms is None


def test_a_sentence_of_a_refusal_is_told_and_a_machines_word_is_not():
    assert str(refused(Refusal("overloaded", reason="Too many wait"))) == "Too many wait"
    assert str(refused(Refusal("circuit_open", reason="half_open"))) == str(CircuitOpen())


def test_an_error_without_a_docstring_has_an_empty_message():
    class Bare(HubError):
        pass

    assert str(Bare()) == ""
