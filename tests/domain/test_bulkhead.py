"""Seats and the queue before them, by example and against a machine that does anything to them."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agenthub.domain.bulkhead import Bulkhead, Entry


def test_as_many_enter_as_there_are_seats_and_as_many_wait_as_the_queue_is_long():
    seats = Bulkhead(2, 1)
    assert [seats.enter(name) for name in "abcd"] == [
        Entry.ENTERED, Entry.ENTERED, Entry.QUEUED, Entry.FULL,
    ]  # fmt: skip
    assert (seats.in_flight, seats.waiting) == (2, 1)


def test_a_seat_goes_to_whoever_has_waited_longest():
    seats = Bulkhead(1, 2)
    for name in "abc":
        seats.enter(name)
    assert [seats.leave(), seats.leave(), seats.leave()] == ["b", "c", None]
    assert seats.in_flight == 0


def test_nobody_can_take_the_seat_that_was_handed_on():
    seats = Bulkhead(1, 2)
    seats.enter("a")
    seats.enter("b")
    assert seats.leave() == "b"
    assert seats.enter("c") is Entry.QUEUED


def test_who_has_gone_is_not_handed_a_seat():
    seats = Bulkhead(1, 2)
    for name in "abc":
        seats.enter(name)
    seats.forget("b")
    seats.forget("nobody")
    assert seats.leave() == "c"


def test_more_seats_are_given_to_those_who_wait_in_their_order():
    seats = Bulkhead(1, 5)
    for name in "abcd":
        seats.enter(name)
    assert seats.resize(3, 5) == ["b", "c"]
    assert (seats.in_flight, seats.waiting) == (3, 1)


def test_of_fewer_seats_those_in_use_are_kept_until_they_are_left():
    seats = Bulkhead(3, 5)
    for name in "abcd":
        seats.enter(name)
    assert seats.resize(1, 5) == []
    assert [seats.leave(), seats.leave(), seats.leave()] == [None, None, "d"]
    assert seats.in_flight == 1


def test_a_shorter_queue_sends_nobody_away():
    seats = Bulkhead(1, 2)
    for name in "abc":
        seats.enter(name)
    seats.resize(1, 0)
    assert seats.enter("d") is Entry.FULL
    assert seats.leave() == "b"


def test_a_seat_that_nobody_had_cannot_be_left():
    with pytest.raises(AssertionError):
        Bulkhead(1, 1).leave()


class BulkheadMachine(RuleBasedStateMachine):
    """Against a list of who sits and a list of who waits."""

    @initialize(seats=st.integers(1, 4), queue=st.integers(0, 4))
    def begin(self, seats, queue):
        self.bulkhead = Bulkhead(seats, queue)
        self.seats, self.queue = seats, queue
        self.sitting, self.waiting, self.next = [], [], 0

    @rule()
    def enter(self):
        self.next += 1
        if len(self.sitting) < self.seats:
            self.sitting.append(self.next)
            expected = Entry.ENTERED
        elif len(self.waiting) < self.queue:
            self.waiting.append(self.next)
            expected = Entry.QUEUED
        else:
            expected = Entry.FULL
        assert self.bulkhead.enter(self.next) is expected

    @precondition(lambda self: self.sitting)
    @rule()
    def leave(self):
        self.sitting.pop()
        expected = None
        if self.waiting and len(self.sitting) < self.seats:
            expected = self.waiting.pop(0)
            self.sitting.append(expected)
        assert self.bulkhead.leave() == expected

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 10))
    def give_up(self, which):
        self.bulkhead.forget(self.waiting.pop(which % len(self.waiting)))

    @rule(seats=st.integers(1, 4), queue=st.integers(0, 4))
    def resize(self, seats, queue):
        self.seats, self.queue = seats, queue
        seated = []
        while self.waiting and len(self.sitting) < seats:
            seated.append(self.waiting.pop(0))
            self.sitting.append(seated[-1])
        assert self.bulkhead.resize(seats, queue) == seated

    @invariant()
    def the_counts_are_right_and_nobody_waits_before_a_free_seat(self):
        assert self.bulkhead.in_flight == len(self.sitting)
        assert self.bulkhead.waiting == len(self.waiting)
        assert not self.waiting or len(self.sitting) >= self.seats


TestBulkheadMachine = BulkheadMachine.TestCase
TestBulkheadMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
