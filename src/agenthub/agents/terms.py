"""What a run is: its task, its bounds, and what a runner may ask of whoever started it."""

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Raw, Struct

from agenthub.agents.events import Event
from agenthub.domain.caller import Caller
from agenthub.domain.dialogue import Message
from agenthub.domain.loop_breaker import LoopTerms
from agenthub.domain.money import USD, NanoUsd
from agenthub.domain.span import SECOND, Nanoseconds

DESTRUCTIVE, ALL, NONE = "destructive", "all", "none"
APPROVALS: Final = (DESTRUCTIVE, ALL, NONE)
"""Which tools wait for the user's word: those that may destroy something, all, or none."""


class Limits(Struct, frozen=True):
    """What one run may take at most."""

    rounds: int = 20
    """Times that the model is asked."""
    tool_calls: int = 100
    tokens: int = 1_000_000
    """Of all its model's answers, input included."""
    cost: NanoUsd = USD
    """One call may pass it: the hold of that call is what the budgets are for."""
    span: Nanoseconds = 1_800 * SECOND
    """From its start on; time in which it waits for the user is in it."""
    loops: LoopTerms = LoopTerms()


class Task(Struct, frozen=True):
    """What a runner is to do."""

    run: str
    caller: Caller
    door: str
    model: str
    system: str
    summary: str
    """Of what was said before `messages`; empty: nothing was."""
    messages: tuple[Message, ...]
    """The conversation; the last one is what is to be answered."""
    limits: Limits
    approval: str
    """Of APPROVALS."""
    has_page: bool
    """Whether a page's text is in the conversation: then what may destroy asks in any case."""
    window: int
    """Tokens that the model reads at most."""


class Stopped(Exception):
    """A run's end that is no answer. The text is for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Desk(Protocol):
    """Where a runner tells what happens and asks the user."""

    def tell(self, event: Event) -> None: ...
    def paid(self, cost: NanoUsd | None) -> NanoUsd:
        """What the run cost until now."""
        ...

    def say(self, messages: Sequence[Message]) -> None:
        """These are part of the conversation now; they are kept in their order, soon."""
        ...

    def summarise(self, summary: str, count: int) -> None:
        """From now on this stands for what an earlier summary told and so many messages after."""
        ...

    async def approve(self, use: str, server: str, tool: str, arguments: Raw, why: str) -> bool:
        """Ask the user, and wait for the word. Without one: no."""
        ...

    async def elicit(self, server: str, params: bytes) -> bytes:
        """As `approve`, for what a server asks; the result, as MCP has it."""
        ...


class Runner(Protocol):
    """The own loop, or ADK."""

    @property
    def name(self) -> str: ...

    async def run(self, task: Task, desk: Desk) -> None:
        """Until the answer is said. Raises Stopped, HubError; can be cancelled at every point."""
        ...
