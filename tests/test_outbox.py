"""Writes wait for the end of the loop's turn, and for nothing else."""

import asyncio

from agenthub.outbox import Outbox


class Connection:
    def __init__(self, written, name, then=None):
        self.written, self.name, self.then = written, name, then

    def flush(self):
        self.written.append(self.name)
        if self.then is not None:
            self.then()


async def turn():
    await asyncio.sleep(0)


async def test_all_of_a_turn_are_written_at_its_end_in_their_order():
    written = []
    outbox = Outbox()
    for name in "abc":
        outbox.add(Connection(written, name))
    assert written == []
    await turn()
    assert written == ["a", "b", "c"]
    await turn()
    assert written == ["a", "b", "c"], "once"


async def test_who_comes_while_it_is_emptied_is_written_in_the_next_turn():
    written = []
    outbox = Outbox()
    late = Connection(written, "late")
    outbox.add(Connection(written, "first", lambda: outbox.add(late)))
    await turn()
    assert written == ["first"]
    await turn()
    assert written == ["first", "late"]


async def test_one_that_fails_keeps_nobody_from_writing(caplog):
    def fail():
        raise RuntimeError("a bug")

    written = []
    outbox = Outbox()
    outbox.add(Connection(written, "bad", fail))
    outbox.add(Connection(written, "good"))
    await turn()
    assert written == ["bad", "good"]
    assert "A connection failed to write" in caplog.text
