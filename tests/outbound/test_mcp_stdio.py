"""The stdio upstream against well-behaved servers: real processes, both eras."""

import asyncio
import sys

import pytest
from support.stdio_hub import House, text_of

from agenthub.domain.call import Era
from agenthub.domain.outcome import Ending, Written

CALCULATOR = (sys.executable, "-m", "agenthub.demo.calculator")


async def test_a_modern_server_is_found_out_and_answers():
    async with House(CALCULATOR) as house:
        house.upstream.start()
        reply = await house.call("add", a=2, b=3)
        assert (reply.ending, reply.written) == (Ending.RESULT, Written.ALL)
        assert text_of(reply) == "5"
        state = house.upstream.state
        assert (state.connected, state.era, state.version) == (True, Era.MODERN, "2026-07-28")
        assert state.problem == ""
        assert house.watcher.heard == [("connected",)]


async def test_a_hundred_concurrent_calls_get_their_own_answers():
    async with House(CALCULATOR) as house:
        await house.up()
        replies = await asyncio.gather(*(house.call("add", a=n, b=1) for n in range(100)))
        assert [text_of(reply) for reply in replies] == [str(n + 1) for n in range(100)]
