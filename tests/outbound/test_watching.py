"""What is watched at a new server: one filter, and who waits for it. In virtual time."""

import asyncio

from support.virtual_time import LoopClock, settled, virtual_time

from agenthub.domain.outcome import Cause, Ending
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.outbound.watching import PATIENCE, Watching
from agenthub.ports import Outgoing

LISTS = {"toolsListChanged": True}


class Receiver:
    def __init__(self):
        self.replies = []

    def finished(self, reply):
        self.replies.append(reply.ending)


class House:
    def __init__(self, lists=LISTS):
        self.asked = []
        self.watching = Watching(lists, LoopClock(), self.asked.append)

    def send(self, uri, method="resources/subscribe"):
        receiver = Receiver()
        outgoing = Outgoing(method, uri, {}, {}, 10 * SECOND)
        receiver.watch = self.watching.send(outgoing, receiver)
        assert receiver.replies == [], "finished from inside send"
        return receiver

    def drop(self, uri):
        return self.send(uri, "resources/unsubscribe")


@virtual_time()
async def test_what_is_asked_for_in_one_moment_is_one_filter():
    house = House()
    first, second = house.send("a:1"), house.send("a:2")
    await asyncio.sleep(0.1)
    assert house.asked == [{**LISTS, "resourceSubscriptions": ["a:1", "a:2"]}]
    assert first.replies == second.replies == []
    house.watching.acknowledged()
    assert first.replies == second.replies == [Ending.RESULT]


@virtual_time()
async def test_the_word_of_an_earlier_stream_is_none_of_the_latest():
    house = House()
    waits = house.send("a:1")
    house.watching.acknowledged()
    await asyncio.sleep(0.1)
    assert len(house.asked) == 1
    later = house.send("a:2")
    house.watching.acknowledged()
    assert waits.replies == later.replies == []
    await asyncio.sleep(0.1)
    house.watching.acknowledged()
    assert waits.replies == later.replies == [Ending.RESULT]


@virtual_time()
async def test_what_is_no_longer_watched_leaves_the_filter():
    house = House()
    house.send("a:1")
    house.send("a:2")
    await asyncio.sleep(0.1)
    house.drop("a:1")
    await asyncio.sleep(0.1)
    house.drop("a:2")
    await asyncio.sleep(0.1)
    assert house.asked[1:] == [{**LISTS, "resourceSubscriptions": ["a:2"]}, LISTS]


@virtual_time()
async def test_what_changes_nothing_is_answered_without_the_server():
    house = House()
    house.send("a:1")
    again, other = house.send("a:1"), house.drop("a:2")
    await settled()
    assert again.replies == other.replies == [Ending.RESULT]
    await asyncio.sleep(0.1)
    assert len(house.asked) == 1


@virtual_time()
async def test_a_server_that_never_acknowledges_is_not_waited_for():
    house = House()
    waits = house.send("a:1")
    await asyncio.sleep((PATIENCE - 50 * MILLISECOND) / SECOND)
    assert waits.replies == []
    await asyncio.sleep(0.1)
    assert waits.replies == [Ending.RESULT]


@virtual_time()
async def test_who_gives_up_hears_that_once_and_a_connection_that_ends_opens_no_stream():
    house = House()
    gone, waits = house.send("a:1"), house.send("a:2")
    for act in ("pause", "resume"):
        getattr(gone.watch, act)()
    gone.watch.answer(1, b"{}")
    gone.watch.cancel(Cause.DEADLINE)
    house.watching.settle()
    await asyncio.sleep(2)
    assert gone.replies == [Ending.CANCELLED]
    assert waits.replies == [Ending.RESULT]
    assert house.asked == []


@virtual_time()
async def test_tasks_stand_in_the_filter_too_and_what_is_empty_does_not():
    house = House()
    house.send("t", "tasks/watch")
    house.send("t", "tasks/watch")
    house.send("a:1")
    await asyncio.sleep(0.1)
    house.drop("a:1")
    await asyncio.sleep(0.1)
    house.send("t", "tasks/unwatch")
    await asyncio.sleep(0.1)
    assert house.asked == [
        {**LISTS, "taskIds": ["t"], "resourceSubscriptions": ["a:1"]},
        {**LISTS, "taskIds": ["t"]},
        LISTS,
    ]
