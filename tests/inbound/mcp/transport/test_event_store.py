"""What is kept of streams: a machine that writes, ends, resumes, waits and leaves in any order."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from support.machines import machine

from agenthub.inbound.mcp.transport.event_store import (
    EVENT_COST,
    EVENTS_MAX,
    SESSION_STREAMS,
    Cursor,
    EventStore,
    Shelf,
    read_cursor,
)

SPAN, TOTAL, OF_STREAM = 60, 12_000, 2_000
NOBODY = object()


class Clock:
    """ports.Clock whose time is moved by hand."""

    def __init__(self):
        self.time = 0
        self.timers = []

    def now(self):
        return self.time

    def after(self, span, callback):
        timer = Timer(self.time + span, callback)
        self.timers.append(timer)
        return timer

    def pass_(self, span):
        end = self.time + span
        while due := [t for t in self.timers if t.at <= end and not t.cancelled]:
            timer = min(due, key=lambda t: t.at)
            self.timers.remove(timer)
            self.time = timer.at
            timer.callback()
        self.time = end


class Timer:
    def __init__(self, at, callback):
        self.at, self.callback, self.cancelled = at, callback, False

    def cancel(self):
        self.cancelled = True


def store_of(total=TOTAL, of_stream=OF_STREAM):
    clock = Clock()
    return EventStore(clock, total, of_stream, SPAN), clock


def messages(events):
    return [event.split(b"data: ")[1].removesuffix(b"\n\n") for event in events]


class Machine(RuleBasedStateMachine):
    """Beside the store stands all that was ever written."""

    streams = Bundle("streams")

    def __init__(self):
        super().__init__()
        self.store, self.clock = store_of()
        self.shelves = [Shelf(), Shelf()]
        self.written = {}
        self.ended = {}
        self.cleared = set()
        self.count = 0

    @rule(target=streams, which=st.integers(0, 1))
    def open(self, which):
        stored = self.store.open(self.shelves[which], b"%d" % self.count, NOBODY)
        self.written[stored] = []
        return stored

    @rule(stored=streams, size=st.sampled_from([1, 300, 900, 3_000]))
    def add(self, stored, size):
        if stored in self.ended:
            return
        self.count += 1
        message = b'"%d"' % self.count + b"x" * size
        event = self.store.add(stored, message)
        self.written[stored].append(message)
        cursor = read_cursor(event.split(b"\n")[0].removeprefix(b"id: "))
        assert (cursor.stream, cursor.seen) == (stored.name, len(self.written[stored]))
        if size <= 900 and stored not in self.cleared:
            assert messages(stored.after(cursor.seen - 1)) == [message], "the last one fits"

    @rule(stored=streams)
    def end(self, stored):
        if stored not in self.ended:
            self.store.end(stored)
            self.ended[stored] = self.clock.time

    @rule(stored=streams, seen=st.integers(0, 30))
    def look(self, stored, seen):
        """What is there is what was written after it, up to the last, without a gap."""
        all_after = self.written[stored][seen:]
        kept = messages(stored.after(seen))
        assert kept == all_after[len(all_after) - len(kept) :]

    @rule(which=st.integers(0, 1))
    def clear(self, which):
        shelf = self.shelves[which]
        self.cleared.update(one for one in self.written if one.shelf is shelf)
        self.store.clear(shelf)
        assert not shelf.streams
        assert shelf.size == 0

    @rule(span=st.sampled_from([1, 20, SPAN]))
    def wait(self, span):
        self.clock.pass_(span)

    @invariant()
    def it_adds_up(self):
        kept = {one: sum(len(e) + EVENT_COST for e in one.events) for one in self.written}
        assert all(one.size == size for one, size in kept.items())
        assert self.store.size == sum(kept.values()) <= TOTAL
        for shelf in self.shelves:
            mine = {one: size for one, size in kept.items() if one.shelf is shelf}
            assert shelf.size == sum(mine.values()) <= SESSION_STREAMS * OF_STREAM
            assert set(shelf.filled) == {one for one, size in mine.items() if size}
            # A stream that runs can be found; one that has ended, if there is something to find.
            for one in mine:
                findable = shelf.streams.get(one.name) is one
                if one in self.ended:
                    assert findable == bool(one.events)
                else:
                    assert findable == (one not in self.cleared)
        assert all(size <= OF_STREAM for size in kept.values())

    @invariant()
    def what_has_ended_is_forgotten_in_time(self):
        late = [one for one, at in self.ended.items() if self.clock.time >= at + SPAN]
        assert not any(one.events for one in late)

    @invariant()
    def nothing_runs_for_nothing(self):
        waiting = [timer for timer in self.clock.timers if not timer.cancelled]
        assert len(waiting) <= 1
        assert waiting or not any(one.events for one in self.ended)


Machine.TestCase.settings = machine(80, 200, 40)
TestMachine = Machine.TestCase


def test_the_stream_that_has_been_silent_longest_loses_first():
    store, _ = store_of(total=4_000, of_stream=4_000)
    early, late, third = (store.open(Shelf(), b"1", NOBODY) for _ in range(3))
    for stored in (early, late, early, late, early):
        store.add(stored, b"x" * 400)
    store.add(third, b"y" * 1_000)
    assert [len(one.events) for one in (early, late, third)] == [3, 1, 1]
    assert late.after(1) == list(late.events)
    store.add(third, b"y" * 1_000)
    assert [len(one.events) for one in (early, late, third)] == [2, 0, 2]
    assert early.after(1) == list(early.events)


def test_a_session_takes_no_more_than_its_share():
    store, _ = store_of(total=10**9)
    shelf, other = Shelf(), Shelf()
    streams = [store.open(shelf, b"1", NOBODY) for _ in range(9)]
    theirs = store.open(other, b"1", NOBODY)
    for stored in (theirs, *streams):
        store.add(stored, b"x" * 1_500)
    assert [len(one.events) for one in streams] == [0] * 5 + [1] * 4
    assert theirs.events


def test_what_has_ended_and_lost_everything_cannot_be_found():
    store, clock = store_of(total=2_000)
    shelf = Shelf()
    done = store.open(shelf, b"1", NOBODY)
    store.add(done, b"x" * 1_000)
    store.end(done)
    running = store.open(shelf, b"2", NOBODY)
    store.add(running, b"x" * 1_000)
    assert list(shelf.streams.values()) == [running]
    clock.pass_(SPAN)
    assert store.size == running.size


def test_events_of_a_stream_are_counted_too():
    store, _ = store_of(total=10**9, of_stream=10**9)
    stored = store.open(Shelf(), b"1", NOBODY)
    for _ in range(EVENTS_MAX + 1):
        store.add(stored, b"{}")
    assert len(stored.events) == len(stored.after(0)) == EVENTS_MAX
    assert len(stored.after(1)) == EVENTS_MAX


def test_a_stream_that_ended_with_nothing_kept_is_forgotten_at_once():
    store, clock = store_of()
    shelf = Shelf()
    store.end(store.open(shelf, b"1", NOBODY))
    assert not shelf.streams
    assert not clock.timers


def test_each_stream_is_forgotten_in_its_own_time():
    store, clock = store_of()
    shelf = Shelf()
    first, second = store.open(shelf, b"1", NOBODY), store.open(shelf, b"2", NOBODY)
    for stored in (first, second):
        store.add(stored, b"{}")
        store.end(stored)
        clock.pass_(10)
    clock.pass_(SPAN - 20)
    assert list(shelf.streams.values()) == [second]
    clock.pass_(10)
    assert not shelf.streams
    assert not clock.timers


def test_a_hub_that_stops_waits_for_nothing():
    store, clock = store_of()
    store.close()
    stored = store.open(Shelf(), b"1", NOBODY)
    store.add(stored, b"{}")
    store.end(stored)
    store.close()
    assert [timer.cancelled for timer in clock.timers] == [True]


@pytest.mark.parametrize("request_id", [b"1", b'"a.b"', b'"\\u00e9\\n"', b"-9007199254740991"])
def test_an_events_id_says_which_request_began_its_stream(request_id):
    store, _ = store_of()
    stored = store.open(Shelf(), request_id, NOBODY)
    assert read_cursor(stored.event_id(12)) == Cursor(stored.name, 12, request_id)
    assert all(0x21 <= byte <= 0x7E for byte in stored.event_id(12))


@pytest.mark.parametrize(
    "text", [b"", b"a.1", b"a.1.MQ.x", b"a.x.MQ", b"a.1.M", b"a.1.W10", b"a.1.e30", b"\xe9.1.MQ"]
)
def test_what_is_no_such_id_is_none(text):
    assert read_cursor(text) is None


def test_a_number_below_the_first_is_the_first():
    assert read_cursor(b"a.-5.MQ") == Cursor("a", 0, b"1")
