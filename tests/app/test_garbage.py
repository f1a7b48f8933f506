"""Garbage is looked for in idle moments."""

import gc

import pytest
from support.rest_hub import Part

from agenthub.app.garbage import EVERY, YOUNG_MAX, Garbage


class Node:
    pass


class StepClock:
    def __init__(self):
        self.due = []

    def after(self, span, callback):
        assert span == EVERY
        self.due.append(callback)
        return Part(cancel=self.due.clear)

    def pass_by(self):
        self.due.pop()()


@pytest.fixture
def idle():
    return Part(now=True)


@pytest.fixture
def clock():
    return StepClock()


@pytest.fixture(autouse=True)
def garbage(clock, idle):
    before = gc.get_threshold()
    garbage = Garbage(clock, lambda: idle.now)
    yield garbage
    garbage.close()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def cycles(number=3_000):
    """So many objects that only a collection can free; gives whether they are there."""
    import weakref

    nodes = [Node() for _ in range(number)]
    for node in nodes:
        node.self = node
    return weakref.ref(nodes[0])


def test_what_was_there_at_the_start_is_not_looked_at_again():
    assert gc.get_freeze_count() > 1_000
    assert gc.get_threshold()[0] == YOUNG_MAX


def test_an_idle_moment_frees_what_has_gathered(clock):
    node = cycles()
    assert node() is not None
    clock.pass_by()
    assert node() is None


def test_a_busy_moment_is_left_alone_and_the_next_idle_one_taken(clock, idle):
    node, idle.now = cycles(), False
    clock.pass_by()
    assert node() is not None
    idle.now = True
    clock.pass_by()
    assert node() is None


def test_little_is_not_worth_a_look(clock):
    clock.pass_by()
    gc.collect()
    node = cycles(10)
    clock.pass_by()
    assert node() is not None
