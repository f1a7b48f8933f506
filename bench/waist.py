"""What the waist's own rules cost: microseconds of CPU per call, and where they go.

    python bench/waist.py [CALLS]

The upstream answers at once, from a list that is emptied outside of the call; all guards are on,
arguments are checked, the call is logged. The goal is 8 µs per call.
"""

import asyncio
import cProfile
import gc
import platform
import pstats
import sys
import time
from collections import Counter
from pathlib import Path

from msgspec import Raw

from agenthub.app.no_money import NoMoney
from agenthub.catalog import Catalog
from agenthub.domain.call import Call
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.endpoint import Endpoint, RateLimit
from agenthub.domain.events import Event
from agenthub.domain.outcome import Cause, Ending, Reply
from agenthub.gateway import Gateway
from agenthub.listing import Listing
from agenthub.metrics import Metrics
from agenthub.outbound.clock import LoopClock
from agenthub.outbound.prices import CatalogPrices
from agenthub.passage import Answer
from agenthub.ports import AttemptReceiver, CallRow, Outgoing, Stored, UpstreamState
from agenthub.tasks import Tasks
from agenthub.till import Till

GOAL_US = 8.0
ROUNDS = 7
SCHEMA = b'{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}'
TOOL = Raw(b'{"name":"echo","inputSchema":' + SCHEMA + b"}")
REPLY = Reply(Ending.RESULT, result=b'{"content":[{"type":"text","text":"hi"}]}')
CALLER = Caller("bench", frozenset({Scope.TOOLS}))
PARAMS = {"name": Raw(b'"echo"'), "arguments": Raw(b'{"text":"hi"}')}


class Upstream:
    """Keeps who waits; `answer` answers them."""

    def __init__(self) -> None:
        self.waiting: list[AttemptReceiver] = []
        self.state = UpstreamState(connected=True)

    def start(self) -> None: ...

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> "Upstream":
        del outgoing
        self.waiting.append(receiver)
        return self

    def cancel(self, cause: Cause) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def close(self) -> None: ...


class Receiver:
    def notified(self, method: str, params: bytes) -> None: ...

    def finished(self, answer: Answer) -> None: ...


class Rows(list[CallRow]):
    add = list.append


class Nobody:
    def event(self, event: Event) -> None: ...


def build() -> tuple[Gateway, Rows, Upstream]:
    clock, rows, upstream, metrics = LoopClock(), Rows(), Upstream(), Metrics()
    catalog = Catalog(clock, Nobody(), None, Tasks(), lambda *_: upstream)
    endpoint = Endpoint(
        name="echo",
        url="http://echo.test/mcp",
        rate_limit=RateLimit(rps=1e6, burst=1_000_000),
        pinning="allow",
    )
    catalog.load([endpoint], Stored((), (), (), {}, {}, {}))
    catalog.get("echo").restore(Listing(tools=[TOOL]), {})
    return Gateway(
        catalog, clock, rows, Nobody(), Till(NoMoney(), CatalogPrices(()), clock, Tasks(), "boot"),
        Nobody(), metrics, 1_000,
    ), rows, upstream  # fmt: skip


def calls(gateway: Gateway, count: int) -> list[Call]:
    deadline = gateway.clock.now() + 60_000_000_000
    return [
        Call(f"r{n}", CALLER, "mcp", "echo", "tools/call", "echo", PARAMS, {}, deadline)
        for n in range(count)
    ]


def run(gateway: Gateway, upstream: Upstream, made: list[Call]) -> None:
    receiver = Receiver()
    waiting, start = upstream.waiting, gateway.start
    for call in made:
        start(call, receiver)
        waiting.pop().finished(REPLY)


def parts(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """Share of the profiled time by module, the called functions' own time only."""
    shares: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():
        where = Path(file).stem if "agenthub" in file else name.strip("<>").split(" ")[0]
        shares[where] += own
    whole = sum(shares.values())
    return [(name, own / whole) for name, own in shares.most_common(14)]


async def main(count: int) -> None:
    gateway, rows, upstream = build()
    run(gateway, upstream, calls(gateway, 2_000))
    times = []
    for _ in range(ROUNDS):
        made = calls(gateway, count)
        rows.clear()
        gc.collect()
        gc.freeze()
        before = time.process_time_ns()
        run(gateway, upstream, made)
        times.append((time.process_time_ns() - before) / count / 1_000)
        assert len(rows) == count, "each call leaves its line"
    best, middle = min(times), sorted(times)[ROUNDS // 2]
    profile = cProfile.Profile()
    made = calls(gateway, count)
    profile.runcall(run, gateway, upstream, made)
    print(f"{platform.python_version()}, {count} calls, {ROUNDS} rounds")
    print(f"waist: {middle:.2f} µs per call (best {best:.2f}; goal {GOAL_US:g})")
    for name, share in parts(profile):
        print(f"  {share:6.1%}  {name}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
