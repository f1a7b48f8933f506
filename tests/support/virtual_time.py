"""An event loop whose time is virtual: it moves when nothing else can be done, at once.

Twenty-five hours pass in a millisecond, and what runs next among what is ready is drawn by a seed,
so that a race shows itself. Source: rule set §4.10; trio's `_mock_clock.py` for the idea.

    @virtual_time(seeds=200)
    async def test_ten_of_a_hundred_pass(): ...

The seed stands in the failure. A test in which everything waits for ever fails at once.
"""

import asyncio
import functools
import random
import selectors
import time
from collections import deque

from agenthub.domain.span import SECOND

START = 1_000 * SECOND
WALL = 1_800_000_000 * SECOND


PATIENCE_S = 30
"""Of the real clock: a loop that never ends would take all memory before a timeout is heard."""


class Hung(AssertionError):
    """Everything waits for something else, or it never ends."""


class _Shuffled(deque):
    def __init__(self, seed):
        super().__init__()
        self._random = random.Random(seed)

    def popleft(self):
        self.rotate(-self._random.randrange(len(self)))
        return super().popleft()


class _Selector(selectors.SelectSelector):
    """Instead of waiting, moves the time."""

    def __init__(self):
        super().__init__()
        self.now = START
        self._end = time.monotonic() + PATIENCE_S

    def select(self, timeout=None):
        if time.monotonic() > self._end:
            raise Hung("it never ends")
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Hung("nothing is left that could happen")
        self.now += max(1, round(timeout * SECOND))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`seed` None: what became ready first runs first, and chance is the same each time."""

    def __init__(self, seed=None):
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.random = random.Random(seed or 0)
        if seed is not None:
            self._ready = _Shuffled(seed)

    def time(self):
        return self._virtual.now / SECOND

    @property
    def now(self):
        return self._virtual.now

    def stand_still(self, span):
        """The process is stopped for so long: time passes, and nothing happens."""
        self._virtual.now += span


class LoopClock:
    """ports.Clock on the running VirtualLoop. `wall_step` is what the wall clock was set by."""

    boot_id = ""

    def __init__(self):
        self._loop = asyncio.get_running_loop()
        self.wall_step = 0
        self.chances = self._loop.random.random

    def now(self):
        return self._loop.now

    def wall(self):
        return WALL + self._loop.now + self.wall_step

    def chance(self):
        return self.chances()

    def after(self, span, callback):
        assert span >= 0, span
        return self._loop.call_at((self._loop.now + span) / SECOND, callback)


def run(main, seed=None):
    """What the coroutine function returns, in virtual time."""
    with asyncio.Runner(loop_factory=functools.partial(VirtualLoop, seed)) as runner:
        return runner.run(main())


def virtual_time(seeds=1):
    """Run an async test in virtual time; with more than one seed, once in each order."""

    def decorate(test):
        @functools.wraps(test)
        def in_virtual_time(*args, **kwargs):
            for seed in range(seeds) if seeds > 1 else (None,):
                try:
                    run(functools.partial(test, *args, **kwargs), seed)
                except BaseException as error:
                    error.add_note(f"seed {seed}")
                    raise

        return in_virtual_time

    return decorate


async def settled():
    """Let everything happen that can happen without time; a nanosecond passes."""
    await asyncio.sleep(1 / SECOND)


async def passes(span):
    """Let so much time pass."""
    await asyncio.sleep(span / SECOND)
