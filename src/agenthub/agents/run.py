"""One run as others see it: its events, kept in order for whoever follows; and its open questions.

runner ─ tell ─► events 1, 2, 3 … ─► any number of followers, each from where it was
       ─ approve, elicit ─► open question ◄─ answer ─ a user
       ─ say ─► kept, in order
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from agenthub.agents.events import Approval, Context, Elicitation, Event, ToolBegun, name_of
from agenthub.conversations import RunState
from agenthub.domain.dialogue import Message
from agenthub.domain.errors import Conflict, InvalidParams, UnknownTarget
from agenthub.domain.money import NanoUsd
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.ports import Clock
from agenthub.wire.questions import ELICIT, is_answer

EVENTS_MAX: Final = 20_000
EVENT_BYTES: Final = 2_000_000
"""Of all events of a run that are kept; the oldest go first."""
KEEP_ALIVE_S: Final = 15
CANCELLED: Final = b'{"action":"cancel"}'
_encode = msgspec.json.Encoder().encode


class Numbered(Struct, frozen=True):
    number: int
    name: str
    data: bytes
    """JSON."""


class Spoken(Struct, frozen=True):
    """What is to be kept: messages, or a summary of so many of those before."""

    messages: tuple[Message, ...] = ()
    summary: str = ""
    count: int = 0


class RunUnderWay:
    """terms.Desk."""

    def __init__(
        self, id_: str, conversation: str, caller: str, model: str, clock: Clock,
        patience: Nanoseconds,
    ) -> None:  # fmt: skip
        """`patience`: how long a question waits for the user."""
        self.id, self.conversation, self.caller, self.model = id_, conversation, caller, model
        self.state = RunState.RUNNING
        self.problem = ""
        self.cost: NanoUsd = 0
        self.started = clock.now()
        self.ended: Nanoseconds | None = None
        self.over = False
        """Nothing more is said in it."""
        self.tools = self.asked = 0
        self.to_keep: deque[Spoken] = deque()
        self.work: asyncio.Task[tuple[RunState, str]] | None = None
        """The runner's; it can be cancelled."""
        self.task: asyncio.Task[object] | None = None
        """Ends a little after `work`, always with the last event."""
        self._clock, self._patience = clock, patience
        self._events: deque[Numbered] = deque()
        self._size = self._count = 0
        self._news: set[asyncio.Event] = set()
        self._open: dict[str, tuple[str, asyncio.Future[bytes]]] = {}
        """Question → its kind, and where its answer goes."""
        self._elicited = 0
        self.some = asyncio.Event()
        """There is something to keep, or nothing more will come."""

    # ------------------------------------------------------------ events

    def tell(self, event: Event) -> None:
        self._count += 1
        self.asked += isinstance(event, Context)
        self.tools += isinstance(event, ToolBegun)
        data = _encode(event)
        self._events.append(Numbered(self._count, name_of(event), data))
        self._size += len(data)
        while len(self._events) > EVENTS_MAX or self._size > EVENT_BYTES:
            self._size -= len(self._events.popleft().data)
        self._wake()

    def _wake(self) -> None:
        for one in self._news:
            one.set()

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Numbered]]:
        """The events behind this number, as they come; ends with the run.

        Empty: nothing came for a while (KEEP_ALIVE). Events that are not kept any more are left
        out: the first number says so.
        """
        news = asyncio.Event()
        self._news.add(news)
        try:
            while True:
                news.clear()
                if found := self._behind(after):
                    after = found[-1].number
                    yield found
                    continue
                if self.ended is not None:
                    return
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await news.wait()
                except TimeoutError:
                    yield ()
        finally:
            self._news.discard(news)

    def _behind(self, after: int) -> list[Numbered]:
        """From the end on, for most followers are there."""
        found: list[Numbered] = []
        for one in reversed(self._events):
            if one.number <= after:
                break
            found.append(one)
        found.reverse()
        return found

    # ------------------------------------------------------------ the desk

    def paid(self, cost: NanoUsd | None) -> NanoUsd:
        self.cost += cost or 0
        return self.cost

    def say(self, messages: Sequence[Message]) -> None:
        if messages:
            self.to_keep.append(Spoken(tuple(messages)))
            self.some.set()

    def summarise(self, summary: str, count: int) -> None:
        self.to_keep.append(Spoken(summary=summary, count=count))
        self.some.set()

    async def approve(self, use: str, server: str, tool: str, arguments: Raw, why: str) -> bool:
        def told(state: str) -> None:
            self.tell(Approval(use, server, tool, arguments, why, state))

        told("asked")
        said = await self._answer(use, "approval")
        told({b"yes": "allowed", b"no": "denied"}.get(said, "expired"))
        return said == b"yes"

    async def elicit(self, server: str, params: bytes) -> bytes:
        self._elicited += 1
        name = f"e{self._elicited}"

        def told(state: str) -> None:
            self.tell(Elicitation(name, server, Raw(params), state))

        told("asked")
        said = await self._answer(name, "elicitation") or CANCELLED
        told(msgspec.json.decode(said, type=_Action).action)
        return said

    async def _answer(self, name: str, kind: str) -> bytes:
        """Empty: none came in time."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[name] = (kind, answer)
        try:
            async with asyncio.timeout(self._patience / SECOND):
                return await answer
        except TimeoutError:
            return b""
        finally:
            del self._open[name]

    # ------------------------------------------------------------ the user

    def approved(self, name: str, *, allow: bool) -> None:
        """Raises UnknownTarget, Conflict."""
        self._take(name, "approval", b"yes" if allow else b"no")

    def answered(self, name: str, result: bytes) -> None:
        """`result`: as MCP has it, raw JSON. Raises UnknownTarget, Conflict, InvalidParams."""
        if not is_answer(ELICIT, result):
            raise InvalidParams("Expected `action`: accept, decline or cancel; and `content`")
        self._take(name, "elicitation", result)

    def _take(self, name: str, kind: str, said: bytes) -> None:
        found = self._open.get(name)
        if found is None or found[0] != kind:
            raise UnknownTarget(f"There is no open {kind} {name[:32]!r} in this run")
        if found[1].done():
            raise Conflict(f"The {kind} {name[:32]!r} is answered already")
        found[1].set_result(said)

    def finish(self, state: RunState, problem: str = "") -> None:
        """Nothing more comes."""
        self.state, self.problem = state, problem
        self.ended = self._clock.now()
        self.some.set()
        self._wake()


class _Action(Struct):
    action: str
