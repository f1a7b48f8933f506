"""Equal answers to equal calls: noted, refused, and then the end."""

import hypothesis.strategies as st
from hypothesis import given

from agenthub.domain.loop_breaker import KEPT_MAX, LoopBreaker, LoopTerms, Verdict

TERMS = LoopTerms(note=2, refuse=3, stop=5)


def told(breaker, call=b"c", result=b"r"):
    return breaker.ask(call), breaker.told(call, result)


def test_the_same_answer_is_noted_then_refused_and_then_it_is_over():
    breaker = LoopBreaker(TERMS)
    assert told(breaker) == (Verdict.FINE, Verdict.FINE)
    assert told(breaker) == (Verdict.FINE, Verdict.NOTE)
    assert told(breaker) == (Verdict.FINE, Verdict.NOTE)
    assert [breaker.ask(b"c") for _ in range(3)] == [Verdict.REFUSE, Verdict.STOP, Verdict.STOP]


def test_another_answer_begins_the_count_anew():
    breaker = LoopBreaker(TERMS)
    for number in range(100):
        assert told(breaker, result=b"%d" % number) == (Verdict.FINE, Verdict.FINE)


def test_other_calls_have_a_count_of_their_own():
    breaker = LoopBreaker(TERMS)
    for number in range(50):
        assert told(breaker, b"%d" % number) == (Verdict.FINE, Verdict.FINE)
    assert told(breaker, b"7") == (Verdict.FINE, Verdict.NOTE)


def test_only_so_many_calls_are_remembered_the_latest():
    breaker = LoopBreaker(TERMS)
    told(breaker, b"first")
    told(breaker, b"second")
    for number in range(KEPT_MAX - 2):
        told(breaker, b"%d" % number)
    assert told(breaker, b"first")[1] is Verdict.NOTE
    told(breaker, b"one more")
    assert told(breaker, b"second")[1] is Verdict.FINE
    assert len(breaker._seen) == KEPT_MAX


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.sampled_from([b"x", b"y"]))))
def test_a_call_is_never_refused_before_its_answer_came_so_often_in_a_row(steps):
    breaker, rows = LoopBreaker(TERMS), {b"a": [], b"b": []}
    for call, result in steps:
        verdict, row = breaker.ask(call), rows[call]
        streak = 0
        for one in reversed(row):
            if one != row[-1]:
                break
            streak += 1
        if verdict is Verdict.FINE:
            assert streak < TERMS.refuse
            breaker.told(call, result)
            row.append(result)
        else:
            assert streak >= TERMS.refuse
