"""Calls of new clients to old servers that ask: parked between the rounds of the client.

    round open ──questions, a moment──► waiting ──retry with its token──► round open …
       │    ▲                              │  │
       │    └── the server goes on ────────┘  └─ `limits.answer_ms` ─► cancelled, gone
       └─ result or error ─► over        or its key ends

The server waits in the one attempt, on its own connection; the client gets `input_required` with
a token and comes back with it in another request, to which answers and notifications go from then
on. A token is good for one round of one call of one caller at one face; whatever is wrong, nothing
is run a second time.

Source: MCP specification 2026-07-28, "Patterns, MRTR"; ADR 10; attacks A37, A38.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw, structs

from agenthub.domain.call import Call
from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, InvalidParams, ResponseTooLarge
from agenthub.domain.outcome import Cause
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.gateway import PARKED_MAX
from agenthub.inbound.mcp.terms import Answered, Replies, UnderWay
from agenthub.passage import TOO_MANY, Passage
from agenthub.ports import Clock, Question, Timer
from agenthub.wire.jsonrpc import with_members, without_members
from agenthub.wire.questions import is_answer

COALESCE: Nanoseconds = 15 * MILLISECOND
"""So long more questions are awaited before the first goes to the client."""
NOTES_MAX: Final = 16
NOTES_BYTES: Final = 16 * 1024
"""What is kept of notifications while no client listens; the rest is dropped."""
HELD_BYTES: Final = 256 * 1024
"""Of a result that came while no client listened."""
PROGRESS: Final = "notifications/progress"
OLD_ONLY: Final = ("task", "elicitationId")
"""What the new era has not in a question."""

_encode = msgspec.json.Encoder().encode
_answers = msgspec.json.Decoder(dict[str, Raw]).decode


class Receiver(Protocol):
    """answer.CallReceiver."""

    call: Call
    replies: Replies
    address: str | None


class Parking:
    """All calls of one door that were ever parked and are not over."""

    def __init__(
        self, clock: Clock, span: Nanoseconds, left: Callable[[Caller], Nanoseconds]
    ) -> None:
        self.clock = clock
        self.left = left
        """How long a caller may still come back."""
        self.span = span
        """How long a client may take."""
        self.kept: set[Parked] = set()
        self.waiting: dict[str, Parked] = {}
        """By token: those whose client has to come back."""

    def asked(self, receiver: Receiver, question: Question, passage: Passage) -> None:
        parked = receiver.replies
        if not isinstance(parked, Parked):
            caller = receiver.call.caller.id
            if sum(one.caller.id == caller for one in self.kept) >= PARKED_MAX:
                passage.answer(question.id, b"", TOO_MANY)
                return
            parked = receiver.replies = Parked(self, receiver, passage)
            self.kept.add(parked)
        parked.put(question)

    def find(self, token: str, receiver: Receiver) -> "Parked | None":
        """The call that this one goes on with, if it is the same."""
        parked = self.waiting.get(token)
        return parked if parked is not None and parked.belongs_to(receiver) else None

    def close(self) -> None:
        """The hub stops: nobody can come back."""
        for parked in list(self.kept):
            parked.leave(Cause.SHUTDOWN)


class Parked:
    """`Replies` of a call whose client comes and goes."""

    def __init__(self, parking: Parking, receiver: Receiver, passage: Passage) -> None:
        self._parking = parking
        self._receiver = receiver
        self._passage = passage
        self._client: Replies | None = receiver.replies
        """Whose round is open."""
        call = receiver.call
        self.caller, self.endpoint, self.address = call.caller, call.endpoint, receiver.address
        self._bound = (call.caller.id, receiver.address, call.digest())
        self._progress_token = call.meta.get("progressToken")
        self._open: dict[str, Question] = {}
        """By the key under which the client is asked."""
        self._asked = 0
        self._token = ""
        self._until: Nanoseconds = 0
        """When it is too late to come back."""
        self._timer: Timer | None = None
        """Of the open round, or of the wait."""
        self._notes: list[tuple[str, bytes]] = []
        self._notes_bytes = 0
        self._ending: tuple[int, str, Mapping[str, Any] | bytes | None] | bytes | None = None
        """The end, if it came while no client listened."""
        self._is_over = False

    def belongs_to(self, receiver: Receiver) -> bool:
        call = receiver.call
        return self._bound == (call.caller.id, receiver.address, call.digest())

    # ------------------------------------------------------------ the rounds

    def put(self, question: Question) -> None:
        """The server asks: the client hears of it with this round's end, or with the next."""
        self._asked += 1
        self._open[f"q{self._asked}"] = question
        if self._client is not None:
            self._end_soon()

    def resume(self, receiver: Receiver) -> Passage:
        """The client is back with answers. Raises InvalidParams; the round is not used up then."""
        answers = self._checked(receiver.call.params.get("inputResponses", Raw(b"{}")))
        del self._parking.waiting[self._token]
        self._stop_timer()
        call = self._receiver.call
        self._receiver.call = structs.replace(call, meta=receiver.call.meta)
        self._client = receiver.replies
        notes, self._notes, self._notes_bytes = self._notes, [], 0
        for method, params in notes:
            self.notify(method, params)
        if self._ending is not None:
            self._deliver(self._ending)
            return self._passage
        for key, answer in answers.items():
            self._passage.answer(self._open.pop(key).id, answer)
        if self._open and not self._is_over:
            self._end_soon()
        return self._passage

    def _checked(self, responses: Raw) -> dict[str, bytes]:
        """Answers to what is open; unknown keys are nobody's."""
        try:
            given = _answers(responses)
        except ValueError:
            raise InvalidParams("params.inputResponses: expected an object") from None
        known = {key: bytes(raw) for key, raw in given.items() if key in self._open}
        for key, raw in known.items():
            method = self._open[key].method
            if not is_answer(method, raw):
                raise InvalidParams(f"params.inputResponses.{key}: no answer to {method}")
        return known

    def _end_soon(self) -> None:
        if self._timer is None:
            self._timer = self._parking.clock.after(COALESCE, self._end_round)

    def _end_round(self) -> None:
        client, self._client = self._client, None
        assert client is not None, "the timer is stopped with the round"
        self._token = secrets.token_urlsafe(24)
        self._parking.waiting[self._token] = self
        self._until = self._parking.clock.now() + self._parking.span
        self._wait()
        asked = {
            key: {"method": one.method, "params": Raw(without_members(one.params, OLD_ONLY))}
            for key, one in self._open.items()
        }
        asks = {"resultType": "input_required", "inputRequests": asked, "requestState": self._token}
        client.result(_encode(asks))

    def _wait(self) -> None:
        """For the client, as long as it may take, and may come in."""
        clock, left = self._parking.clock, self._parking.left(self.caller)
        self._timer = clock.after(min(self._until - clock.now(), left), self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._parking.clock.now() < self._until and self._parking.left(self.caller):
            self._wait()  # Its token was renewed meanwhile.
        else:
            self.leave(Cause.CLIENT)

    def leave(self, cause: Cause) -> None:
        """Whoever comes back now is too late."""
        self._end()
        self._passage.cancel(cause)

    def _end(self) -> None:
        self._is_over = True
        self._stop_timer()
        self._parking.kept.discard(self)
        self._parking.waiting.pop(self._token, None)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # ------------------------------------------------------------ Replies

    def result(self, raw: bytes) -> None:
        self._finish(raw)

    def error(self, code: int, message: str, data: Mapping[str, Any] | bytes | None = None) -> None:
        self._finish((code, message, data))

    def notify(self, method: str, params: bytes) -> None:
        if self._client is None:
            if len(self._notes) < NOTES_MAX and self._notes_bytes + len(params) <= NOTES_BYTES:
                self._notes.append((method, params))
                self._notes_bytes += len(params)
        elif method != PROGRESS:
            self._client.notify(method, params)
        elif (token := self._receiver.call.meta.get("progressToken")) is not None:
            if token != self._progress_token:
                params = with_members(params, {"progressToken": bytes(token)})
            self._client.notify(method, params)

    def ask(self, method: str, params: bytes, answered: Answered) -> bool:
        """A client of the new era is asked between rounds only."""
        del method, params, answered
        return False

    def follow(self, under_way: UnderWay) -> None:
        """There is one attempt, whatever the rounds."""

    def _finish(self, ending: tuple[int, str, Mapping[str, Any] | bytes | None] | bytes) -> None:
        if self._client is not None:
            self._deliver(ending)
        elif not self._is_over:
            if isinstance(ending, bytes) and len(ending) > HELD_BYTES:
                ending = _too_large()
            self._ending = ending

    def _deliver(self, ending: tuple[int, str, Mapping[str, Any] | bytes | None] | bytes) -> None:
        client, self._client = self._client, None
        assert client is not None, "somebody listens"
        self._end()
        if isinstance(ending, bytes):
            client.result(ending)
        else:
            client.error(*ending)


def _too_large() -> tuple[int, str, Mapping[str, Any]]:
    words = "The server ended while the client was asked, and its answer was too large to keep"
    error: HubError = ResponseTooLarge(words, executed="yes")
    return error.code, words, error.data()
