"""Steps before the wall: which of them hold, and what cannot be one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.budget import Budget, Subject
from agenthub.domain.errors import BadSetting
from agenthub.domain.ladder import STEPS_MAX, Easing, Step, eased
from agenthub.domain.money import USD

LADDER = (Step(50, max_tokens=500), Step(80, "mini"), Step(95, "nano", 100))


@pytest.mark.parametrize(
    ("spent", "use", "tokens"),
    [
        (0, None, None), (49, None, None), (50, "", 500), (79, "", 500), (80, "mini", 500),
        (94, "mini", 500), (95, "nano", 100), (400, "nano", 100),
    ],
)  # fmt: skip
def test_a_step_holds_until_a_later_one_says_otherwise(spent, use, tokens):
    found = eased([("b", LADDER, spent)])
    assert found == (None if use is None else Easing("b", use, tokens))


def test_of_several_budgets_the_shortest_answer_and_the_model_of_the_fullest_count():
    a, b = (Step(50, "a-model", 300),), (Step(10, "b-model", 200),)
    assert eased([("a", a, 60), ("b", b, 20)]) == Easing("a", "a-model", 200)
    assert eased([("a", a, 60), ("b", b, 90)]) == Easing("b", "b-model", 200)
    assert eased([("a", (Step(50, max_tokens=9),), 90), ("b", b, 20)]) == Easing("a", "b-model", 9)
    assert eased([("a", (), 99), ("b", b, 5)]) is None


def test_what_is_done_is_shown_in_one_line():
    assert Easing("ops", "mini", 100).shown() == "budget=ops; use=mini; max_tokens=100"
    assert Easing("ops", "", 100).shown() == "budget=ops; max_tokens=100"
    assert Easing("ops", "mini", None).shown() == "budget=ops; use=mini"


@given(st.integers(0, 200), st.integers(0, 200))
def test_more_spending_never_makes_an_answer_longer(one, other):
    ladder = (Step(20, max_tokens=900), Step(50, max_tokens=300), Step(90, max_tokens=10))
    less, more = (eased([("b", ladder, spent)]) for spent in sorted((one, other)))
    assert less is None or more.max_tokens <= less.max_tokens


@pytest.mark.parametrize(
    ("ladder", "said"),
    [
        ((Step(0, "m"),), "from 1 to 109 and rising"), ((Step(110, "m"),), "from 1 to 109"),
        ((Step(80, "m"), Step(80, "n")), "rising"), ((Step(80),), "says `use` or `max_tokens`"),
        ((Step(80, "m" * 257),), "ladder.use"), ((Step(80, "m\n"),), "ladder.use"),
        ((Step(80, max_tokens=0),), "ladder.max_tokens"),
        ((Step(80, max_tokens=10**8),), "ladder.max_tokens"),
        (tuple(Step(n, "m") for n in range(1, STEPS_MAX + 2)), "at most 5 steps"),
    ],
)  # fmt: skip
def test_a_ladder_that_cannot_be_is_refused_in_words(ladder, said):
    with pytest.raises(BadSetting, match=said):
        Budget("b", USD, ladder=ladder).check()


def test_a_budget_of_each_session_has_none():
    with pytest.raises(BadSetting, match="has many counters"):
        Budget("b", USD, subject=Subject("session", "*"), ladder=LADDER).check()
    Budget("b", USD, subject=Subject("session", "s1"), ladder=LADDER).check()
