"""Budgets: whom they concern, which counter a call goes to, how close they are to the limit."""

import msgspec
import pytest
from msgspec import structs

from agenthub.domain.account import Facts
from agenthub.domain.budget import DEFAULT, Budget, Level, Subject
from agenthub.domain.errors import BadSetting
from agenthub.domain.money import MAX, USD
from agenthub.domain.period import Period

FACTS = Facts("k1", "ops", "s1", "openai", "openai-eu", "gpt", "web__search")
AT = 1_800_000_000


def test_the_default_is_a_hundred_dollars_a_month_for_everything():
    DEFAULT.check()
    assert (DEFAULT.limit, DEFAULT.wall) == (100 * USD, 110 * USD)
    assert (DEFAULT.period, DEFAULT.subject) == (Period("month", 1, "UTC"), Subject("all"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("key", "k1"), ("team", "ops"), ("session", "s1"), ("provider", "openai"),
        ("endpoint", "openai-eu"), ("model", "gpt"), ("tool", "web__search"),
    ],
)  # fmt: skip
def test_a_budget_concerns_the_calls_of_its_subject(kind, name):
    assert Subject(kind, name).concerns(FACTS)
    assert not Subject(kind, name.upper()).concerns(FACTS)
    assert not Subject(kind, name).concerns(Facts())


def test_a_budget_of_all_concerns_every_call_and_one_of_each_session_those_that_have_one():
    assert Subject("all").concerns(Facts())
    assert Subject("session", "*").concerns(FACTS)
    assert not Subject("session", "*").concerns(Facts())


def test_each_session_has_a_counter_of_its_own():
    run = Budget("r", USD, subject=Subject("session", "*"), period=Period("run"))
    one, other = (run.hold_on(Facts(session=name), AT) for name in ("s1", "s2"))
    assert (one.window, one.first) == ("s1\x01run", "s1\x01run")
    assert other.window == "s2\x01run"
    assert len(run.hold_on(Facts(session="x" * 9_999), AT).window) == len("run ") + 200


@pytest.mark.parametrize(
    "other", ["a", "bb", "s", "s1x", "s1 hours", "s1\x01hours 2027-01-15T07", ""]
)
def test_what_other_sessions_spend_is_in_no_rolling_window_of_a_session(other):
    rolling = Budget("r", USD, subject=Subject("session", "*"), period=Period("hours", 24))
    mine = rolling.hold_on(Facts(session="s1"), AT)
    for hours in range(25):
        theirs = rolling.hold_on(Facts(session=other), AT - hours * 3600)
        assert not mine.first <= theirs.window <= mine.window
        own = rolling.hold_on(Facts(session="s1"), AT - hours * 3600)
        assert mine.first <= own.window <= mine.window


def test_a_call_goes_to_the_window_it_begins_in():
    on = Budget("b", USD, period=Period("hours", 2)).hold_on(FACTS, AT)
    assert (on.budget, on.first, on.window) == ("b", "hours 2027-01-15T06", "hours 2027-01-15T08")
    assert (on.starts_at, on.ends_at) == (AT - 2 * 3600, AT + 3600)


@pytest.mark.parametrize(
    ("settled", "level"),
    [
        (0, Level.SAFE), (89_999, Level.SAFE), (90_000, Level.WARNING), (99_999, Level.WARNING),
        (100_000, Level.CRITICAL), (109_999, Level.CRITICAL), (110_000, Level.BLOCKED),
    ],
)  # fmt: skip
def test_levels_begin_at_their_per_cent(settled, level):
    assert Budget("b", 100_000).level(settled) is level


def test_what_is_credited_adds_to_the_limit():
    assert Budget("b", 50_000).level(89_999, 50_000) is Level.SAFE
    assert Budget("b", 50_000).level(90_000, 50_000) is Level.WARNING


def test_of_a_limit_of_nothing_all_is_used_up():
    assert Budget("b", 0).level(0) is Level.BLOCKED
    assert Budget("b", 0).wall == 0


def test_the_wall_is_rounded_down():
    assert Budget("b", 999, blocked=101).wall == 1008


def test_a_budget_can_be_written_down_and_read():
    budget = Budget("b", USD, subject=Subject("key", "k"), period=Period("week", 7), on_unpriced=5)
    budget.check()
    assert msgspec.json.decode(msgspec.json.encode(budget), type=Budget) == budget
    assert msgspec.json.decode(b'{"id":"b","limit":1,"on_unpriced":"allow"}', type=Budget)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"subject": Subject("planet", "x")}, "one of all, key"),
        ({"subject": Subject("all", "x")}, "empty for `all`"),
        ({"subject": Subject("key")}, "empty for `all`"),
        ({"subject": Subject("key", "*")}, "each session"),
        ({"period": Period("run")}, "is for sessions"),
        ({"period": Period("year")}, "period.kind"),
        ({"limit": -1}, "limit is from 0"),
        ({"limit": MAX + 1}, "limit is from 0"),
        ({"warning": 0}, "in this order"),
        ({"warning": 101}, "in this order"),
        ({"critical": 111}, "in this order"),
        ({"blocked": 1001}, "in this order"),
        ({"on_unpriced": "maybe"}, "on_unpriced"),
        ({"on_unpriced": -1}, "on_unpriced"),
        ({"on_unpriced": MAX + 1}, "on_unpriced"),
        ({"id": ""}, "at most 200"),
        ({"id": "x" * 201}, "at most 200"),
        ({"id": "a/b"}, "without `/`"),
        ({"id": ".."}, "without `/`"),
        ({"id": "."}, "without `/`"),
        ({"id": "a\n"}, "without `/`"),
        ({"name": "x" * 201}, "at most 200"),
        ({"subject": Subject("key", "x" * 201)}, "at most 200"),
        ({"reason": "x" * 501}, "at most 500"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_in_words(change, words):
    with pytest.raises(BadSetting, match=words):
        structs.replace(DEFAULT, **change).check()


def test_bounds_themselves_pass():
    for change in (
        {"limit": MAX, "blocked": 1000, "critical": 1000, "warning": 1000, "on_unpriced": 0},
        {"limit": 0, "warning": 1, "critical": 1, "blocked": 1, "on_unpriced": MAX},
        {"id": "x" * 200, "reason": "x" * 500, "on_unpriced": "allow"},
        {"subject": Subject("session", "*"), "period": Period("run")},
    ):
        structs.replace(DEFAULT, **change).check()
