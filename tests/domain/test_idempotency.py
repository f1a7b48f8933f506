"""Idempotency keys: one run, one answer, within bounds."""

import pytest
from msgspec import Struct

from agenthub.domain.errors import HubError, OutcomeUnknown, RateLimited
from agenthub.domain.idempotency import ENTRY_BYTES, KEPT, Claim, Idempotency
from agenthub.domain.outcome import Ending, Reply

SCOPE = ("anna", "files", "read", "key-1")
NOW = 1_000


class Answer(Struct):
    reply: Reply | None = None
    error: HubError | None = None


def result(body=b'{"n":1}', **facts):
    return Answer(Reply(Ending.RESULT, result=body, **facts))


def failed(code, **facts):
    return Answer(Reply(Ending.ERROR, code=code, error=b"{}", **facts))


def run(keys, scope=SCOPE, answer=None, now=NOW):
    claim, entry = keys.claim(scope, b"digest", now)
    assert claim is Claim.NEW
    keys.finish(entry, answer or result(), now)


def heard(keys, entry):
    answers = []
    keys.join(entry, answers.append)
    return answers


def test_a_key_is_new_once_and_joined_from_then_on():
    keys = Idempotency()
    assert [keys.claim(SCOPE, b"digest", NOW)[0] for _ in range(3)] == [
        Claim.NEW, Claim.JOINED, Claim.JOINED,
    ]  # fmt: skip
    assert len(keys) == 1


def test_another_request_with_the_same_key_is_a_conflict_before_and_after_the_answer():
    keys = Idempotency()
    entry = keys.claim(SCOPE, b"digest", NOW)[1]
    assert keys.claim(SCOPE, b"other", NOW)[0] is Claim.CONFLICT
    keys.finish(entry, result(), NOW)
    assert keys.claim(SCOPE, b"other", NOW)[0] is Claim.CONFLICT


@pytest.mark.parametrize("part", range(4))
def test_the_key_of_another_caller_server_or_tool_is_another_key(part):
    """A46."""
    keys = Idempotency()
    run(keys)
    scope = tuple("other" if n == part else value for n, value in enumerate(SCOPE))
    assert keys.claim(scope, b"digest", NOW)[0] is Claim.NEW


def test_all_who_joined_hear_the_one_answer_once():
    keys = Idempotency()
    entry = keys.claim(SCOPE, b"digest", NOW)[1]
    first, second = heard(keys, entry), heard(keys, entry)
    assert not first
    answer = result()
    keys.finish(entry, answer, NOW)
    assert [first, second, heard(keys, entry)] == [[answer], [answer], [answer]]


@pytest.mark.parametrize(
    "answer",
    [
        result(),
        result(is_error=True),
        Answer(error=OutcomeUnknown(executed="unknown")),
        failed(-32603),
    ],
    ids=["done", "done_err", "unknown", "its_own_error"],
)
def test_what_ran_or_may_have_is_never_run_again(answer):
    """A stored UNKNOWN is returned as UNKNOWN (R33)."""
    keys = Idempotency()
    run(keys, answer=answer)
    claim, entry = keys.claim(SCOPE, b"digest", NOW + KEPT - 1)
    assert claim is Claim.JOINED
    assert heard(keys, entry) == [answer]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(error=RateLimited(executed="no")),
        failed(-32602),
        failed(-32603, status=429),
        result(result_type="input_required"),
    ],
    ids=["refused_here", "refused_there", "pushed_back", "asked_back"],
)
def test_what_surely_did_not_run_may_be_tried_again(answer):
    keys = Idempotency()
    entry = keys.claim(SCOPE, b"digest", NOW)[1]
    waiting = heard(keys, entry)
    keys.finish(entry, answer, NOW)
    assert waiting == [answer]
    assert (len(keys), keys.size_bytes) == (0, 0)
    assert keys.claim(SCOPE, b"another", NOW)[0] is Claim.NEW


def test_an_answer_is_kept_for_a_day_from_its_end():
    keys = Idempotency()
    run(keys)
    assert keys.claim(SCOPE, b"digest", NOW + KEPT - 1)[0] is Claim.JOINED
    assert keys.claim(SCOPE, b"digest", NOW + KEPT)[0] is Claim.NEW
    assert keys.size_bytes == 0


def test_a_call_that_takes_long_does_not_lose_its_key():
    keys = Idempotency()
    keys.claim(SCOPE, b"digest", NOW)
    assert keys.claim(SCOPE, b"digest", NOW + 2 * KEPT)[0] is Claim.JOINED


def test_beyond_the_number_of_keys_the_oldest_answers_go():
    keys = Idempotency(entries_max=2)
    for name in "abc":
        run(keys, scope=name)
    assert len(keys) == 2
    assert [keys.claim(name, b"digest", NOW)[0] for name in "bca"] == [
        Claim.JOINED, Claim.JOINED, Claim.NEW,
    ]  # fmt: skip


def test_beyond_the_bytes_the_oldest_answers_go():
    room = 2 * (ENTRY_BYTES + 100)
    keys = Idempotency(bytes_max=room)
    run(keys, scope="a", answer=result(b"x" * 100))
    run(keys, scope="b", answer=failed(-32603))
    assert keys.size_bytes == 2 * ENTRY_BYTES + 102
    run(keys, scope="c", answer=Answer(error=OutcomeUnknown(executed="unknown")))
    assert [keys.claim(name, b"digest", NOW)[0] for name in "bca"] == [
        Claim.JOINED, Claim.JOINED, Claim.NEW,
    ]  # fmt: skip
    assert keys.size_bytes == 2 * ENTRY_BYTES + 2


def test_exactly_the_bytes_fit():
    keys = Idempotency(bytes_max=ENTRY_BYTES + 10)
    run(keys, answer=result(b"x" * 10))
    assert len(keys) == 1
