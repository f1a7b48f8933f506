"""Idempotency keys: equal calls with one key run once, and all of them get the one answer (R33).

    claim ──► unknown key ─────────► NEW      run it, then `finish`
          ──► same request ────────► JOINED   `join`: the answer comes when it is there
          ──► other request ───────► CONFLICT

    NEW ──finish──► surely not run ──► forgotten: the key may be tried again
               └──► ran, or may have ──► kept for 24 h, and never run again

Bounded: beyond `ENTRIES_MAX` keys or `BYTES_MAX` of answers the oldest answers go first. So what
is promised is "once within 24 h, as long as it is kept", in one process.
"""

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any, Final, Protocol

from agenthub.domain.errors import HubError
from agenthub.domain.judge import judge
from agenthub.domain.outcome import Certainty, Reply
from agenthub.domain.span import SECOND, Nanoseconds

KEPT: Final[Nanoseconds] = 24 * 3600 * SECOND
ENTRIES_MAX: Final = 50_000
BYTES_MAX: Final = 64 * 1024 * 1024
ENTRY_BYTES: Final = 512
"""What a key costs besides its answer, roughly: tuple, digest, entry."""


class Claim(Enum):
    """What a key is to the call that brings it."""

    NEW = "new"
    JOINED = "joined"
    CONFLICT = "conflict"


class Answer(Protocol):
    """What is kept: a reply of an upstream, or the hub's error."""

    @property
    def reply(self) -> Reply | None: ...
    @property
    def error(self) -> HubError | None: ...


class Entry:
    """One key in use. Opaque to all but `Idempotency`."""

    __slots__ = ("answer", "digest", "joined", "scope", "size_bytes", "until")

    def __init__(self, scope: Hashable, digest: bytes) -> None:
        self.scope = scope
        self.digest = digest
        self.answer: Answer | None = None
        self.until: Nanoseconds = 0
        self.size_bytes = 0
        self.joined: list[Callable[[Any], None]] = []


class Idempotency:
    """All keys in use."""

    def __init__(self, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: dict[Hashable, Entry] = {}
        self._kept: dict[Hashable, Entry] = {}
        """Those with an answer, the oldest first."""
        self.size_bytes = 0
        """Of what is kept."""

    def __len__(self) -> int:
        return len(self._entries)

    def claim(self, scope: Hashable, digest: bytes, now: Nanoseconds) -> tuple[Claim, Entry]:
        """Ask for a key. `scope` names the caller, the target and the key; `digest` the request."""
        self._expire(now)
        entry = self._entries.get(scope)
        if entry is None:
            entry = self._entries[scope] = Entry(scope, digest)
            return Claim.NEW, entry
        if entry.digest != digest:
            return Claim.CONFLICT, entry
        return Claim.JOINED, entry

    def join(self, entry: Entry, callback: Callable[[Any], None]) -> None:
        """Call back with the entry's answer: at once if it is there, else from `finish`."""
        if entry.answer is not None:
            callback(entry.answer)
        else:
            entry.joined.append(callback)

    def finish(self, entry: Entry, answer: Answer, now: Nanoseconds) -> None:
        """The answer of the call that was NEW. All who joined hear it."""
        joined, entry.joined = entry.joined, []
        if _may_be_asked_again(answer):
            del self._entries[entry.scope]
        else:
            self._keep(entry, answer, now)
        for callback in joined:
            callback(answer)

    def _keep(self, entry: Entry, answer: Answer, now: Nanoseconds) -> None:
        reply = answer.reply
        size = ENTRY_BYTES + (len(reply.result) + len(reply.error) if reply else 0)
        entry.answer, entry.until, entry.size_bytes = answer, now + KEPT, size
        self._kept[entry.scope] = entry
        self.size_bytes += size
        while len(self._kept) > self._entries_max or self.size_bytes > self._bytes_max:
            self._drop_oldest()

    def _expire(self, now: Nanoseconds) -> None:
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        scope = next(iter(self._kept))
        self.size_bytes -= self._kept.pop(scope).size_bytes
        del self._entries[scope]


def _may_be_asked_again(answer: Answer) -> bool:
    """Whether it surely did not run (yet): refused, never sent, or the server asks back first."""
    if answer.reply is not None:
        return judge(answer.reply, cancelled=None).certainty in NOT_RUN
    return answer.error is not None and answer.error.executed == "no"


NOT_RUN: Final = frozenset({Certainty.REFUSED, Certainty.INPUT_REQUIRED})
