"""The replay decision, all of it (R28-R31)."""

import itertools

import pytest

from agenthub.domain.endpoint import ToolPolicy
from agenthub.domain.outcome import Certainty
from agenthub.domain.replay import changes_nothing, may_replay, read_only, replay_safe

FLAGS = ("pushback", "replay_safe", "read_only", "same_backend", "same_server", "committed")
ALL_CASES = [
    (certainty, dict(zip(FLAGS, values, strict=True)))
    for certainty in Certainty
    for values in itertools.product([False, True], repeat=len(FLAGS))
]


def by_the_table(certainty, flags):
    """R28, read row by row from the rule set."""
    if flags["committed"]:
        return False
    if flags["same_server"]:
        return {
            Certainty.NOT_SENT: True,
            Certainty.REFUSED: flags["pushback"],
            Certainty.UNKNOWN: flags["replay_safe"],
        }.get(certainty, False)
    return {
        Certainty.NOT_SENT: True,
        Certainty.REFUSED: flags["pushback"],
        Certainty.UNKNOWN: flags["read_only"] or (flags["same_backend"] and flags["replay_safe"]),
    }.get(certainty, False)


def test_the_decision_is_that_of_the_table_in_all_384_cases():
    assert len(ALL_CASES) == 6 * 2**6
    for certainty, flags in ALL_CASES:
        assert may_replay(certainty, **flags) is by_the_table(certainty, flags), (certainty, flags)


def test_what_may_have_run_is_never_run_again_when_nobody_vouches_for_it():
    """P14."""
    for certainty, flags in ALL_CASES:
        if certainty is Certainty.UNKNOWN and not (flags["replay_safe"] or flags["read_only"]):
            assert not may_replay(certainty, **flags)


def test_what_has_run_is_never_run_again():
    done = {Certainty.DONE_OK, Certainty.DONE_ERR, Certainty.INPUT_REQUIRED}
    for certainty, flags in ALL_CASES:
        if certainty in done or flags["committed"]:
            assert not may_replay(certainty, **flags)


# ---------------------------------------------------------------- who vouches

HINTS = {
    "nothing": None,
    "empty": {},
    "reads": {"readOnlyHint": True},
    "idempotent": {"idempotentHint": True},
    "denied": {"readOnlyHint": False, "idempotentHint": False},
    "almost": {"readOnlyHint": 1, "idempotentHint": "true"},
    "harmless": {"destructiveHint": False},
}


@pytest.mark.parametrize("hints", HINTS)
def test_an_untrusted_server_vouches_for_nothing(hints):
    assert not replay_safe(None, False, HINTS[hints])
    assert not read_only(None, False, HINTS[hints])


@pytest.mark.parametrize("hints", HINTS)
def test_a_trusted_server_vouches_by_a_hint_that_is_exactly_true(hints):
    assert replay_safe(None, True, HINTS[hints]) is (hints in {"reads", "idempotent"})
    assert read_only(None, True, HINTS[hints]) is (hints == "reads")


@pytest.mark.parametrize("hints", HINTS)
@pytest.mark.parametrize("trusted", [False, True])
def test_the_operators_word_outweighs_the_servers(hints, trusted):
    safe, never = ToolPolicy(replay="safe"), ToolPolicy(replay="never")
    assert replay_safe(safe, trusted, HINTS[hints])
    assert not replay_safe(never, trusted, HINTS[hints])
    assert not read_only(never, trusted, HINTS[hints])


@pytest.mark.parametrize("policy", [ToolPolicy(), ToolPolicy(replay="safe")])
def test_safe_on_one_server_is_not_read_only_everywhere(policy):
    """R29: idempotent speaks of one server's world."""
    assert not read_only(policy, True, {"idempotentHint": True})
    assert read_only(policy, True, {"readOnlyHint": True})


def test_a_policy_that_says_nothing_leaves_it_to_the_server():
    policy = ToolPolicy(timeout_ms=100)
    assert replay_safe(policy, True, {"idempotentHint": True})
    assert not replay_safe(policy, False, {"idempotentHint": True})


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("word", [False, True])
def test_who_may_only_read_may_call_what_the_operator_says(trusted, word):
    policy = ToolPolicy("never", read_only=word)
    assert changes_nothing(policy, trusted, {"readOnlyHint": not word}) is word


def test_who_may_only_read_may_call_what_a_trusted_server_says_and_no_other():
    for policy in (None, ToolPolicy("safe"), ToolPolicy("never")):
        assert changes_nothing(policy, True, {"readOnlyHint": True})
        assert not changes_nothing(policy, True, {"idempotentHint": True})
        assert not changes_nothing(policy, False, {"readOnlyHint": True})
        assert not changes_nothing(policy, True, None)
