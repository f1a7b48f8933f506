"""The machine's clock: never early, never backwards."""

import asyncio
import time

import pytest
import uvloop

from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.outbound import clock as clock_module
from agenthub.outbound.clock import LoopClock


async def fired_early_by(spans) -> list[int]:
    """For each span, how long before its end the callback ran; negative when it ran after it."""
    clock, early = LoopClock(), []
    done = asyncio.Event()

    def fire(due: int) -> None:
        early.append(due - clock.now())
        if len(early) == len(spans):
            done.set()

    for span in spans:
        due = clock.now() + span
        clock.after(span, lambda due=due: fire(due))
    async with asyncio.timeout(5):
        await done.wait()
    return early


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_timer_never_fires_before_its_span_is_over(new_loop):
    """A breaker that is asked a hair before its time would refuse the probe that it waits for."""
    spans = [n * MILLISECOND // 7 for n in range(150)]
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert max(runner.run(fired_early_by(spans))) <= 0


async def test_a_span_that_is_over_fires_at_once_but_never_from_inside():
    clock, fired = LoopClock(), asyncio.Event()
    clock.after(-SECOND, fired.set)
    assert not fired.is_set()
    await asyncio.wait_for(fired.wait(), 1)


async def test_a_cancelled_timer_does_not_fire():
    clock, fired, other = LoopClock(), asyncio.Event(), asyncio.Event()
    clock.after(0, fired.set).cancel()
    clock.after(MILLISECOND, other.set)
    await asyncio.wait_for(other.wait(), 1)
    assert not fired.is_set()


async def test_the_run_of_the_machine_has_a_name_or_none(tmp_path, monkeypatch):
    """R17: time between two processes is told by the machine's clock only within one run of it."""
    monkeypatch.setattr(clock_module, "BOOT_ID", tmp_path / "boot_id")
    assert LoopClock().boot_id == ""
    (tmp_path / "boot_id").write_text("0b-1\n")
    assert LoopClock().boot_id == "0b-1"
    (tmp_path / "boot_id").write_bytes(b"\xff")
    assert LoopClock().boot_id == ""


async def test_it_reads_the_machine():
    clock = LoopClock()
    before, wall = time.monotonic_ns(), time.time_ns()
    assert before <= clock.now() <= time.monotonic_ns()
    assert wall <= clock.wall() <= time.time_ns()
    assert all(0 <= clock.chance() < 1 for _ in range(100))
