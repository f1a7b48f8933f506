"""A call under way, for a coroutine: what it brings one after another, with a bound."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from agenthub.domain.call import Call
from agenthub.domain.outcome import Cause
from agenthub.gateway import Gateway
from agenthub.passage import Answer, Passage
from agenthub.ports import Question

BACKLOG_BYTES: Final = 256 * 1024
"""What may wait to be read; then the upstream is not read any more."""
News: TypeAlias = tuple[str, bytes] | Question


class Hearing:
    """Receives one call (passage.Receiver)."""

    def __init__(self) -> None:
        self._waiting: deque[News] = deque()
        self._size = 0
        self._paused = False
        self._some = asyncio.Event()
        self._passage: Passage | None = None
        self.end: Answer | None = None

    def attend(self, passage: Passage) -> None:
        self._passage = passage
        self._hold_back()

    def notified(self, method: str, params: bytes) -> None:
        self._waiting.append((method, params))
        self._size += len(params)
        self._hold_back()
        self._some.set()

    def asked(self, question: Question, passage: Passage) -> None:
        del passage  # It is known, or will be.
        self._waiting.append(question)
        self._some.set()

    def finished(self, answer: Answer) -> None:
        self.end = answer
        self._some.set()

    async def next(self) -> News | None:
        """None: it is over, and `end` is its answer."""
        while not self._waiting:
            if self.end is not None:
                return None
            self._some.clear()
            await self._some.wait()
        news = self._waiting.popleft()
        if isinstance(news, tuple):
            self._size -= len(news[1])
            if self._paused and self._size < BACKLOG_BYTES // 2 and self._passage is not None:
                self._paused = False
                self._passage.resume()
        return news

    def answer(self, question: Question, result: bytes, error: bytes = b"") -> None:
        assert self._passage is not None, "who asks is under way"
        self._passage.answer(question.id, result, error)

    def _hold_back(self) -> None:
        if self._size > BACKLOG_BYTES and not self._paused and self._passage is not None:
            self._paused = True
            self._passage.pause()


@asynccontextmanager
async def heard(gateway: Gateway, call: Call) -> AsyncGenerator[Hearing]:
    """Start a call; leaving before its end cancels it. Raises HubError."""
    hearing = Hearing()
    passage = gateway.start(call, hearing)
    hearing.attend(passage)
    try:
        yield hearing
    finally:
        passage.cancel(Cause.CLIENT)
