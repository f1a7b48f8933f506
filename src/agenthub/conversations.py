"""Conversations and runs as they are kept, and what keeps them.

A run is one answer of an agent to one message. What was said is kept message by message, each as
soon as it is whole, so that a crash leaves a conversation that can be read and gone on with; the
run is told to be interrupted then.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from msgspec import Struct

from agenthub.domain.dialogue import Message

TITLE_MAX: Final = 200
"""Characters."""
MESSAGE_BYTES: Final = 1_000_000
"""Of one message as JSON; longer ones are cut by who adds them."""
CONVERSATIONS_MAX: Final = 10_000
"""In one home; then the one that was said nothing in for longest is forgotten."""
MESSAGES_MAX: Final = 10_000
"""In one conversation."""


class RunState(Enum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The hub ended first."""


class Conversation(Struct, frozen=True):
    id: str
    caller: str
    """Id of the caller whose it is; nobody else's but the admin's to see."""
    title: str
    model: str
    created_at_s: int
    changed_at_s: int
    """When something was last said, or the title was changed."""
    messages: int
    """How many."""
    summary: str = ""
    """Of the messages up to `summarised`, for the model."""
    summarised: int = 0
    """Number of the last message that the summary tells of; 0: there is none."""


class Said(Struct, frozen=True):
    """A message, kept."""

    number: int
    """From 1 on, without gaps, within its conversation."""
    run: str
    at_s: int
    message: Message


class Run(Struct, frozen=True):
    id: str
    conversation: str
    state: RunState
    started_at_s: int
    ended_at_s: int = 0
    problem: str = ""
    """Why it failed, for people."""


class ConversationStorage(Protocol):
    """Keeps conversations. All raise StorageFailed. What a call returned is durable."""

    async def find(self, conversation: str) -> Conversation | None: ...

    async def list(
        self, caller: str | None, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[Conversation]:
        """Of a caller, or all: newest change first, below (`changed_at_s`, `id`)."""
        ...

    async def rename(self, conversation: str, title: str, now_s: int) -> bool:
        """False: there is none."""
        ...

    async def delete(self, conversation: str) -> bool:
        """With its messages and runs, at once. False: there was none."""
        ...

    async def add(
        self, conversation: str, run: str, messages: Sequence[Message], now_s: int
    ) -> int | None:
        """Append all or none; the number of the last one, or None: it is gone, or has no room."""
        ...

    async def messages(
        self, conversation: str, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Said]:
        """In their order."""
        ...

    async def summarise(self, conversation: str, summary: str, number: int) -> None:
        """What was said up to this number, in short."""
        ...

    async def begin(self, run: Run, message: Message, new: Conversation | None = None) -> bool:
        """A run, and the message that it answers, all or nothing; False: its conversation is
        gone, or has no room.

        `new`: the conversation, if it begins with this; then the oldest beyond `CONVERSATIONS_MAX`
        are forgotten.
        """
        ...

    async def end(self, run: str, state: RunState, problem: str, now_s: int) -> None:
        """Only of one that is RUNNING."""
        ...

    async def find_run(self, run: str) -> Run | None: ...

    async def runs(self, conversation: str) -> Sequence[Run]:
        """Newest first; at most 1,000."""
        ...

    async def interrupt(self, now_s: int) -> int:
        """All runs that are RUNNING were another process's: they are INTERRUPTED. How many."""
        ...
