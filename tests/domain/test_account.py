"""The life of a call's money: every order of steps, told once or twice (P4, P6)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.account import MISSING, Charge, State, lets_in
from agenthub.domain.usage import Basis

STEPS = {
    "top_up": lambda charge: charge.top_up(150),
    "settle": lambda charge: charge.settle(70, Basis.PROVIDER),
    "guess": lambda charge: charge.settle(80, Basis.PARTIAL),
    "release": Charge.release,
    "expire": Charge.expire,
}


def after(*names):
    charge = Charge(100)
    for name in names:
        charge = STEPS[name](charge)
    return charge


def test_what_is_held_counts_until_it_is_known_what_it_cost():
    assert (after().held, after().spent) == (100, 0)
    assert (after("settle").held, after("settle").spent) == (0, 70)
    assert (after("release").held, after("release").spent) == (0, 0)
    assert (after("expire").held, after("expire").spent) == (0, 100)
    assert (after("expire").state, after("expire").basis) == (State.UNKNOWN, Basis.EXPIRED)


@pytest.mark.parametrize("first", STEPS)
def test_a_step_told_twice_is_one(first):
    once = after(first)
    assert STEPS[first](once) is once


@given(st.lists(st.sampled_from(list(STEPS))))
def test_evidence_wins_in_whatever_order_it_comes(names):
    charge = after(*names)
    if "settle" in names:
        assert (charge.state, charge.cost, charge.basis) == (State.SETTLED, 70, Basis.PROVIDER)
    elif "guess" in names:
        assert (charge.state, charge.cost, charge.basis) == (State.SETTLED, 80, Basis.PARTIAL)
    elif "release" in names:
        assert (charge.state, charge.cost, charge.basis) == (State.RELEASED, 0, None)


@given(st.lists(st.sampled_from(list(STEPS))))
def test_what_is_held_and_what_is_spent_is_never_both_and_never_below_nothing(names):
    charge = after(*names)
    assert min(charge.held, charge.spent) == 0
    assert charge.held >= 0
    assert charge.spent >= 0
    assert (charge.held > 0) == (charge.state is State.RESERVED)


def test_a_top_up_raises_the_hold_and_never_lowers_it():
    assert after("top_up").held == 150
    assert Charge(100).top_up(100).held == 100
    assert Charge(100).top_up(50).held == 100
    assert after("top_up", "expire").spent == 150
    for over in ("settle", "release", "expire"):
        assert not after(over).could_top_up(1_000)


def test_a_guess_is_no_evidence_against_one_that_came_before():
    charge = after("guess")
    assert charge.settle(1, Basis.ESTIMATED) is charge
    sure = after("settle")
    assert sure.settle(1, Basis.FIXED) is sure


def test_only_what_changes_after_the_fact_is_an_adjustment():
    steps = ("settle", "release", "expire")
    assert all(after(step).adjustment(Charge(100)) is None for step in steps)
    assert after("expire", "settle").adjustment(after("expire")) == -30
    assert after("expire", "release").adjustment(after("expire")) == -100
    assert after("release", "settle").adjustment(after("release")) == 70
    assert after("guess", "settle").adjustment(after("guess")) == -10
    settled = after("settle")
    assert settled.release().adjustment(settled) is None


def test_adjustments_add_up_to_the_cost():
    for names in itertools.product(("settle", "guess", "release", "expire"), repeat=3):
        charge = booked = after(names[0])
        total = booked.cost
        for name in names[1:]:
            charge, before = STEPS[name](charge), charge
            total += charge.adjustment(before) or 0
        assert charge.cost == total


def test_a_call_without_a_hold_is_booked_nonetheless():
    charge = MISSING.settle(5, Basis.PROVIDER)
    assert (charge.held, charge.spent, charge.adjustment(MISSING)) == (0, 5, None)


def test_a_hold_fits_up_to_the_wall_exactly():
    assert lets_in(reserved=30, settled=50, hold=20, wall=100)
    assert not lets_in(reserved=30, settled=50, hold=21, wall=100)
