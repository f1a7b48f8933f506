"""Idempotency keys: equal calls with one key run once, and all of them get the one answer (R33).

    claim ──► its scope is unknown ─► written down ─► run ──► surely not run ──► forgotten
          ──► under way: joined                          ├──► ran ─────────────► its answer is kept
          ──► other request: conflict                    └──► may have run ────► stays as it is

A claim is durable before the first byte of its call goes out. So after a crash at any moment, a
claim without an answer is a call that may have run, and it is never run again; a claim that is not
there is a call that was not sent.

Who is under way stands in memory, here; what is over stands in the database (ports.ClaimLog).
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, structs

from agenthub.domain.call import Call
from agenthub.domain.errors import HubError, IdempotencyConflict, OutcomeUnknown
from agenthub.domain.judge import judge
from agenthub.domain.outcome import Certainty, Reply
from agenthub.domain.span import SECOND, Nanoseconds

KEPT_S: Final = 24 * 3600 + 300
"""How long a claim is kept from its beginning: a day from its end, for no call takes more than
300 s (R40), beside the time that its client takes for answers."""
ANSWER_BYTES_MAX: Final = 256 * 1024
"""Of a larger answer only that it came is kept."""
NOT_KEPT: Final = b""
"""Stands for an answer that was too large, or for which there was no room."""
NOT_RUN: Final = frozenset({Certainty.REFUSED, Certainty.INPUT_REQUIRED})


class Claim(Struct, frozen=True):
    """A call that wants to be the one that runs under its key."""

    scope: bytes
    """Names the caller, the server, the target and the key."""
    caller: str
    digest: bytes
    """Of the request."""
    call_id: str
    at_s: int
    """Seconds since 1970, as counted since the hub's start: no step of the wall clock is in it."""


class Earlier(Struct, frozen=True):
    """The claim that the database has for a scope."""

    call_id: str
    digest: bytes
    answer: bytes | None
    """None: none came, as far as is known."""


class Answer(Protocol):
    """The end of a call: a reply of an upstream, or the hub's error."""

    @property
    def reply(self) -> Reply | None: ...
    @property
    def error(self) -> HubError | None: ...
    @property
    def served_by(self) -> str: ...


class Kept(Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    reply: Reply
    served_by: str


class Entry:
    """A claim under way. Opaque to all but `Idempotency`."""

    __slots__ = ("claim", "joined")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.joined: list[Callable[[Any], None]] = []


class Idempotency:
    """The keys of calls under way: never more than there are calls in flight."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, claim: Claim) -> Entry:
        """The entry of this scope: of this claim, or of one under way, to be joined.

        Raises:
            IdempotencyConflict: One with other arguments is under way.
        """
        entry = self._entries.get(claim.scope)
        if entry is None:
            entry = self._entries[claim.scope] = Entry(claim)
        elif entry.claim.digest != claim.digest:
            raise IdempotencyConflict
        return entry

    def join(self, entry: Entry, callback: Callable[[Any], None]) -> None:
        """Call back with the entry's answer, from `finish`."""
        entry.joined.append(callback)

    def finish(self, entry: Entry, answer: Answer) -> None:
        """It is over. All who joined hear the answer."""
        del self._entries[entry.claim.scope]
        for callback in entry.joined:
            callback(answer)


def claim_of(call: Call, at: Nanoseconds) -> Claim:
    """Of a call with a key."""
    names = (call.caller.id, call.endpoint, call.name, call.idempotency_key)
    scope = hashlib.sha256(msgspec.json.encode(names)).digest()
    return Claim(scope, call.caller.id, call.digest(), call.id, at // SECOND)


def answer_of(earlier: Earlier, claim: Claim) -> Kept | None:
    """What a claim gets that is not the first of its scope; None: it is the first, after all.

    (A claim that is written again after a death of the database meets itself.)

    Raises:
        IdempotencyConflict: The first had other arguments.
        OutcomeUnknown: There is no answer to give; says whether it ran.
    """
    if earlier.call_id == claim.call_id:
        return None
    if earlier.digest != claim.digest:
        raise IdempotencyConflict
    if earlier.answer is None:
        raise OutcomeUnknown(
            "The call with this idempotency key may have run; its answer was lost",
            executed="unknown",
        )
    try:
        return msgspec.msgpack.decode(earlier.answer, type=Kept)
    except ValueError:  # NOT_KEPT, or written by another version of the hub.
        raise OutcomeUnknown(
            "The call with this idempotency key has run; its answer was not kept", executed="yes"
        ) from None


def kept(answer: Answer) -> bytes | None:
    """What to keep of an answer; None: nothing, for it says that nobody knows."""
    reply = answer.reply
    if reply is None:
        return None
    if len(reply.result) + len(reply.error) > ANSWER_BYTES_MAX:
        return NOT_KEPT
    plain = structs.replace(reply, head=None)  # that can be read again from the result
    return msgspec.msgpack.encode(Kept(plain, answer.served_by))


def may_be_asked_again(answer: Answer) -> bool:
    """Whether it surely did not run (yet): refused, never sent, or the server asks back first."""
    if answer.reply is not None:
        return judge(answer.reply, cancelled=None).certainty in NOT_RUN
    return answer.error is not None and answer.error.executed == "no"
