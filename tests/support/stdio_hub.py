"""What a stdio upstream needs around it: real time, a watcher and receivers that remember."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from msgspec import Raw, json

from agenthub.domain.endpoint import Endpoint, Timeouts
from agenthub.domain.outcome import Cause, Reply
from agenthub.domain.span import SECOND
from agenthub.outbound.mcp_stdio import StdioUpstream
from agenthub.outbound.nursery import Nursery
from agenthub.ports import Outgoing, Question
from agenthub.settings import LimitSettings

SERVERS = Path(__file__).with_name("stdio_servers")


class RealClock:
    def now(self) -> int:
        return time.monotonic_ns()

    def wall(self) -> int:
        return time.time_ns()

    def chance(self) -> float:
        return random.random()

    def after(self, span: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(span / SECOND, callback)


class Watcher:
    """Remembers what it heard, in order, and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self._more = asyncio.Event()

    def changed(self, kind: str, params: bytes) -> None:
        self._add("changed", kind, params)

    def connected(self) -> None:
        self._add("connected")

    def lost(self, loss: int, detail: str) -> None:
        self._add("lost", loss, detail)

    def unreachable(self, detail: str) -> None:
        self._add("unreachable", detail)

    def _add(self, *what: object) -> None:
        self.heard.append((*what,))
        self._more.set()

    def count(self, kind: str) -> int:
        return sum(one[0] == kind for one in self.heard)

    async def until(self, kind: str, times: int = 1, seconds: float = 8) -> tuple[object, ...]:
        async with asyncio.timeout(seconds):
            while self.count(kind) < times:
                self._more.clear()
                await self._more.wait()
        return [one for one in self.heard if one[0] == kind][times - 1]


class Receiver:
    def __init__(self) -> None:
        self.notes: list[tuple[str, bytes]] = []
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.noted = asyncio.Event()
        self.questions: list[Question] = []
        self.asked_soon = asyncio.Event()

    def asked(self, question: Question) -> None:
        assert not self.reply.done()
        self.questions.append(question)
        self.asked_soon.set()

    async def until_asked(self, times: int = 1, seconds: float = 5) -> list[Question]:
        async with asyncio.timeout(seconds):
            while len(self.questions) < times:
                self.asked_soon.clear()
                await self.asked_soon.wait()
        return self.questions

    def notified(self, method: str, params: bytes) -> None:
        assert not self.reply.done()
        self.notes.append((method, params))
        self.noted.set()

    def finished(self, reply: Reply) -> None:
        self.reply.set_result(reply)  # Raises if it is called twice.


def outgoing(tool: str, meta: dict | None = None, seconds: float = 10, **arguments) -> Outgoing:
    return Outgoing(
        method="tools/call",
        name=tool,
        params={"arguments": Raw(json.encode(arguments.get("arguments", arguments)))},
        meta={key: Raw(json.encode(value)) for key, value in (meta or {}).items()},
        deadline=time.monotonic_ns() + int(seconds * SECOND),
    )


def server(name: str) -> tuple[str, ...]:
    """The command of a misbehaving server."""
    return (sys.executable, "-S", str(SERVERS / f"{name}.py"))


class House:
    """One upstream with all it needs; `async with` ends everything."""

    def __init__(self, command: tuple[str, ...], env: dict | None = None, **limits) -> None:
        connect_ms = limits.pop("connect_ms", 5_000)
        declared = limits.pop("declared", b"{}")
        self.clock = RealClock()
        self.watcher = Watcher()
        self.nursery = Nursery(self.clock)
        self.endpoint = Endpoint(
            "house", command=command, env=env or {}, timeouts=Timeouts(connect_ms=connect_ms)
        )
        self.upstream = StdioUpstream(
            self.endpoint, self.watcher, self.clock, LimitSettings(**limits), self.nursery, declared
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.upstream.close()
        await self.nursery.close()

    async def up(self) -> Self:
        self.upstream.start()
        await self.watcher.until("connected")
        return self

    @property
    def pid(self) -> int:
        pid = self.upstream.state.pid
        assert pid is not None
        return pid

    def begin(self, tool: str, meta: dict | None = None, seconds: float = 10, **arguments):
        """An attempt on its way, which is cancelled at its deadline, as the gateway does."""
        receiver = Receiver()
        attempt = self.upstream.send(outgoing(tool, meta, seconds, **arguments), receiver)
        assert not receiver.reply.done(), "finished from inside send"
        timer = asyncio.get_running_loop().call_later(seconds, attempt.cancel, Cause.DEADLINE)
        receiver.reply.add_done_callback(lambda _: timer.cancel())
        return receiver, attempt

    async def call(self, tool: str, meta: dict | None = None, seconds: float = 10, **arguments):
        receiver, _ = self.begin(tool, meta, seconds, **arguments)
        return await asyncio.wait_for(receiver.reply, seconds + 5)


def text_of(reply: Reply) -> str:
    assert reply.result, reply
    return json.decode(reply.result)["content"][0]["text"]


def alive(pid: int) -> bool:
    """Whether a process runs; zombies do not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of other processes; nobody tells
            await asyncio.sleep(0.01)


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
