"""Conversations of a hub that only relays: there are none, the running hub has them all."""

from collections.abc import Sequence

from agenthub.conversations import Conversation, Run, RunState, Said
from agenthub.domain.dialogue import Message
from agenthub.domain.errors import StorageFailed

WORDS = "The running hub keeps conversations"


class NoTalk:
    """conversations.ConversationStorage."""

    async def find(self, conversation: str) -> Conversation | None:
        del conversation

    async def list(
        self, caller: str | None, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[Conversation]:
        del caller, limit, before
        return ()

    async def rename(self, conversation: str, title: str, now_s: int) -> bool:
        del conversation, title, now_s
        return False

    async def delete(self, conversation: str) -> bool:
        del conversation
        return False

    async def add(
        self, conversation: str, run: str, messages: Sequence[Message], now_s: int
    ) -> int | None:
        del conversation, run, messages, now_s

    async def messages(
        self, conversation: str, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Said]:
        del conversation, after, limit
        return ()

    async def summarise(self, conversation: str, summary: str, number: int) -> None:
        del conversation, summary, number

    async def begin(self, run: Run, message: Message, new: Conversation | None = None) -> bool:
        del run, message, new
        raise StorageFailed(WORDS)

    async def end(self, run: str, state: RunState, problem: str, now_s: int) -> None:
        del run, state, problem, now_s

    async def find_run(self, run: str) -> Run | None:
        del run

    async def runs(self, conversation: str) -> Sequence[Run]:
        del conversation
        return ()

    async def interrupt(self, now_s: int) -> int:
        del now_s
        return 0
