"""Idempotency keys: one run, one answer, and what is kept of it."""

import msgspec
import pytest
from msgspec import Raw, Struct

from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.errors import (
    HubError,
    IdempotencyConflict,
    OutcomeUnknown,
    RateLimited,
    UpstreamProtocol,
)
from agenthub.domain.idempotency import (
    ANSWER_BYTES_MAX,
    KEPT_S,
    NOT_KEPT,
    Earlier,
    Idempotency,
    Kept,
    answer_of,
    claim_of,
    kept,
    may_be_asked_again,
)
from agenthub.domain.outcome import Ending, Reply, ResultHead
from agenthub.domain.span import SECOND

NOW = 1_800_000_000 * SECOND


class Answer(Struct):
    reply: Reply | None = None
    error: HubError | None = None
    served_by: str = "files"


def claim(*, caller="anna", server="files", name="read", key="k", a=1, call_id="c-1", now=NOW):
    params = {"arguments": Raw(msgspec.json.encode({"a": a}))}
    call = Call(
        call_id, Caller(caller, frozenset()), "mcp", server, "tools/call", name, params, {},
        now, idempotency_key=key,
    )  # fmt: skip
    return claim_of(call, now)


def result(body=b'{"n":1}', **facts):
    return Answer(Reply(Ending.RESULT, result=body, **facts))


def failed(code, **facts):
    return Answer(Reply(Ending.ERROR, code=code, error=b"{}", **facts))


def earlier(first, answer):
    return Earlier(first.call_id, first.digest, answer)


class TestScope:
    def test_it_is_the_same_for_the_same_names_and_holds_none_of_them(self):
        first, second = claim(), claim(call_id="c-2", a=2, now=NOW + SECOND)
        assert first.scope == second.scope
        assert len(first.scope) == 32
        assert (first.caller, first.call_id, first.at_s) == ("anna", "c-1", 1_800_000_000)
        assert second.at_s == first.at_s + 1

    @pytest.mark.parametrize("other", ["caller", "server", "name", "key"])
    def test_another_callers_servers_or_tools_key_is_another_one(self, other):
        """A46."""
        assert claim(**{other: "other"}).scope != claim().scope

    def test_names_cannot_be_made_to_run_into_each_other(self):
        assert claim(name='a","b', key="c").scope != claim(name="a", key='b","c').scope
        assert claim(name="a\0b", key="c").scope != claim(name="a", key="b\0c").scope


class TestUnderWay:
    def test_the_first_has_the_key_and_the_others_join_it(self):
        keys, first = Idempotency(), claim()
        entry = keys.enter(first)
        assert entry.claim is first
        assert keys.enter(claim(call_id="c-2")) is entry
        assert len(keys) == 1

    def test_one_with_other_arguments_is_a_conflict(self):
        keys = Idempotency()
        keys.enter(claim())
        with pytest.raises(IdempotencyConflict):
            keys.enter(claim(a=2))

    def test_all_who_joined_hear_the_one_answer_and_the_key_is_not_under_way_any_more(self):
        keys, heard, answer = Idempotency(), [], result()
        entry = keys.enter(claim())
        keys.join(entry, heard.append)
        keys.join(entry, heard.append)
        keys.finish(entry, answer)
        assert heard == [answer, answer]
        assert not keys
        again = claim(call_id="c-2", a=2)
        assert keys.enter(again).claim is again


class TestWhatIsKept:
    @pytest.mark.parametrize(
        "answer", [result(), result(is_error=True), failed(-32603), failed(-32603, status=500)]
    )
    def test_a_reply_is_given_again_as_it_was(self, answer):
        first, second = claim(), claim(call_id="c-2")
        assert not may_be_asked_again(answer)
        found = answer_of(earlier(first, kept(answer)), second)
        assert found == Kept(answer.reply, "files")

    def test_what_was_read_of_a_reply_is_not_kept_for_it_can_be_read_again(self):
        answer = result(head=ResultHead())
        found = answer_of(earlier(claim(), kept(answer)), claim(call_id="c-2"))
        assert found.reply == Reply(Ending.RESULT, result=b'{"n":1}')

    @pytest.mark.parametrize("error", [OutcomeUnknown, UpstreamProtocol])
    def test_of_what_may_have_run_nothing_is_kept_and_it_is_never_run_again(self, error):
        """A stored UNKNOWN is returned as UNKNOWN (R33)."""
        answer = Answer(error=error(executed="unknown"))
        assert not may_be_asked_again(answer)
        assert kept(answer) is None
        with pytest.raises(OutcomeUnknown, match="may have run") as told:
            answer_of(earlier(claim(), None), claim(call_id="c-2"))
        assert told.value.executed == "unknown"

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
    def test_what_surely_did_not_run_may_be_tried_again(self, answer):
        assert may_be_asked_again(answer)

    def test_an_answer_of_just_the_largest_size_is_kept(self):
        body = b"x" * (ANSWER_BYTES_MAX - 2)
        largest = Answer(Reply(Ending.ERROR, result=body, error=b"{}"))
        assert kept(largest) not in {None, NOT_KEPT}
        assert kept(Answer(Reply(Ending.ERROR, result=body, error=b"{ }"))) == NOT_KEPT

    @pytest.mark.parametrize("data", [NOT_KEPT, b"\xc1 of another version"])
    def test_where_the_answer_was_not_kept_it_is_known_that_it_ran(self, data):
        with pytest.raises(OutcomeUnknown, match="has run") as told:
            answer_of(earlier(claim(), data), claim(call_id="c-2"))
        assert told.value.executed == "yes"


class TestEarlier:
    @pytest.mark.parametrize("answer", [None, NOT_KEPT, kept(result())])
    def test_another_request_is_a_conflict_whatever_became_of_the_first(self, answer):
        with pytest.raises(IdempotencyConflict):
            answer_of(earlier(claim(), answer), claim(call_id="c-2", a=2))

    def test_a_claim_that_meets_itself_is_the_first(self):
        assert answer_of(earlier(claim(), None), claim()) is None


def test_a_claim_outlives_its_call_by_a_day():
    """R40: no call takes longer than 300 s."""
    assert KEPT_S - 300 == 24 * 60 * 60
