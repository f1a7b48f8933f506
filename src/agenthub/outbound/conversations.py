"""Conversations in the hub's database (conversations.ConversationStorage)."""

import logging
import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agenthub.conversations import (
    CONVERSATIONS_MAX,
    MESSAGES_MAX,
    Conversation,
    Run,
    RunState,
    Said,
)
from agenthub.domain.dialogue import Message
from agenthub.outbound.database_process import DatabaseProcess

log = logging.getLogger(__name__)

NEVER: Final = 2**62
PAGE_MAX: Final = 2_000


class DatabaseConversations:
    """In the tables of schema/0009_conversation.sql."""

    def __init__(self, process: DatabaseProcess, most: int = CONVERSATIONS_MAX) -> None:
        self._process = process
        self._most = most

    async def find(self, conversation: str) -> Conversation | None:
        rows = await self._process.read("conversation", conversation)
        return Conversation(*rows[0]) if rows else None

    async def list(
        self, caller: str | None, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[Conversation]:
        at, name = before or (NEVER, "")
        most = max(1, min(limit, PAGE_MAX))
        if caller is None:
            rows = await self._process.survey("conversations", at, name, most)
        else:
            rows = await self._process.survey("conversations_of", at, name, most, caller)
        return [Conversation(*row) for row in rows]

    async def rename(self, conversation: str, title: str, now_s: int) -> bool:
        changed = await self._process.change(
            ("rename_conversation", [(conversation, title, now_s)])
        )
        return changed > 0

    async def delete(self, conversation: str) -> bool:
        return await self._process.change(("delete_conversation", [(conversation,)])) > 0

    async def add(
        self, conversation: str, run: str, messages: Sequence[Message], now_s: int
    ) -> int | None:
        if not messages:
            found = await self.find(conversation)
            return found.messages if found else None
        # The first goes in only where all fit, and the others only with it.
        first = _row(conversation, run, messages[0], now_s, MESSAGES_MAX - len(messages) + 1)
        rows = [first]
        rows += [_row(conversation, run, one, now_s, after=str(first[1])) for one in messages[1:]]
        await self._process.change(("add_message", rows))
        # Sent twice after a restart it changed nothing the second time: what is there counts.
        known = await self._process.read("number_of_message", rows[-1][1])
        return known[0][0] if known else None

    async def messages(
        self, conversation: str, *, after: int = 0, limit: int = 1_000
    ) -> Sequence[Said]:
        most = max(1, min(limit, PAGE_MAX))
        rows = await self._process.survey("messages", conversation, after, most)
        return [said for row in rows if (said := _said(*row)) is not None]

    async def summarise(self, conversation: str, summary: str, number: int) -> None:
        await self._process.change(("summarise_conversation", [(conversation, summary, number)]))

    async def begin(self, run: Run, message: Message, new: Conversation | None = None) -> bool:
        made = [] if new is None else [
            (new.id, new.caller, new.title, new.model, new.created_at_s, new.changed_at_s)
        ]  # fmt: skip
        said = _row(run.conversation, run.id, message, run.started_at_s)
        await self._process.change(
            ("put_conversation", made), ("add_message", [said]),
            ("put_run", [(run.id, run.conversation, run.state.value, run.started_at_s, said[1])]),
            ("prune_conversations", [(self._most,)] if made else []),
        )  # fmt: skip
        return bool(await self._process.read("run", run.id))

    async def end(self, run: str, state: RunState, problem: str, now_s: int) -> None:
        await self._process.change(("end_run", [(run, state.value, problem, now_s)]))

    async def find_run(self, run: str) -> Run | None:
        rows = await self._process.read("run", run)
        return _run(*rows[0]) if rows else None

    async def runs(self, conversation: str) -> Sequence[Run]:
        return [_run(*row) for row in await self._process.survey("runs", conversation)]

    async def interrupt(self, now_s: int) -> int:
        return await self._process.change(("interrupt_runs", [(now_s,)]))


def _row(
    conversation: str,
    run: str,
    message: Message,
    at_s: int,
    below: int = MESSAGES_MAX,
    after: str = "",
) -> tuple[str | int | bytes, ...]:
    """For `add_message`; its token makes a repeated write one row.

    It goes in where the conversation has fewer than `below`, and the row of the token `after`.
    """
    data = msgspec.json.encode(message)
    return conversation, os.urandom(12).hex(), run, at_s, data, below, after


def _said(number: int, run: str, at_s: int, data: bytes) -> Said | None:
    try:
        return Said(number, run, at_s, msgspec.json.decode(data, type=Message))
    except ValueError as error:
        log.error(  # noqa: TRY400 - the row is the fault, not the code
            "A kept message is unreadable and left out", extra={"run": run, "problem": str(error)}
        )
        return None


def _run(id_: str, conversation: str, state: str, *rest: Any) -> Run:
    known = {one.value: one for one in RunState}
    if state not in known:
        log.error("A kept run's state is unknown; it counts as interrupted", extra={"run": id_})
    return Run(id_, conversation, known.get(state, RunState.INTERRUPTED), *rest)
