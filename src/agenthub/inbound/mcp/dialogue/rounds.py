"""A call of an old client to a new server that asks: the hub puts the questions, and calls again.

    server: input_required ─► ask the client, live ─► all answered ─► the call, with its answers
              ▲                                                                   │
              └────────────────────── at most ROUNDS_MAX times ───────────────────┘

To the client it is one request. To the waist each round is a call with a deadline of its own;
between two rounds nothing is in flight, and the gateway counts the call as one that waits.

Source: MCP specification 2026-07-28, "Patterns, MRTR"; 2025-11-25, "Client Features".
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Raw, structs

from agenthub.domain.call import Call
from agenthub.domain.errors import HubError, Interactive, Overloaded
from agenthub.domain.outcome import Cause
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.hub import Hub
from agenthub.inbound.mcp.dialogue.questions import GONE
from agenthub.inbound.mcp.terms import Replies
from agenthub.passage import QUESTIONS_MAX, Passage, Receiver
from agenthub.wire.jsonrpc import with_members
from agenthub.wire.questions import ELICIT, Asked, InputRequired, missing_for

if TYPE_CHECKING:
    from agenthub.ports import Timer

ROUNDS_MAX: Final = 10
BACKOFF: Nanoseconds = 50 * MILLISECOND
"""Before the call is made again for a server that asked for nothing but that; then doubled."""
BACKOFF_MAX: Nanoseconds = 2 * SECOND
COMPLETE: Final = "notifications/elicitation/complete"
CANCEL: Final = Raw(b'{"action":"cancel"}')

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Any]).decode


class Asker(Receiver, Protocol):
    """answer.CallReceiver."""

    call: Call
    replies: Replies
    span: Nanoseconds

    def refuse(self, error: HubError) -> None: ...


class Rounds:
    """UnderWay, and gateway.Waiting."""

    def __init__(self, hub: Hub, receiver: Asker) -> None:
        self._hub = hub
        self._receiver = receiver
        self._params = receiver.call.params
        self.caller = receiver.call.caller.id
        self._passage: Passage | None = None
        self._timer: Timer | None = None
        self._count = 0
        self._next: tuple[Raw, str] = (Raw(), "")
        """The server's state, and its name."""
        self._open: set[str] = set()
        self._answers: dict[str, Raw] = {}
        self._pages: dict[tuple[str, str], str] = {}
        """(key, address) that the user was asked to open → the question's id for old clients."""
        self._accepted: dict[tuple[str, str], str] = {}
        receiver.replies.follow(self)

    # ------------------------------------------------------------ one round

    def asked(self, wanted: InputRequired, served_by: str) -> None:
        """The server wants answers. Raises HubError: it will not get them."""
        self._passage = None
        self._count += 1
        if self._count > ROUNDS_MAX:
            raise Interactive(f"The server asked the client more than {ROUNDS_MAX} times")
        if len(wanted.requests) > QUESTIONS_MAX:
            raise Interactive(f"The server asked more than {QUESTIONS_MAX} things at once")
        self._check_declared(wanted)
        self._complete(wanted)
        if not self._hub.gateway.wait(self):
            raise Overloaded("Too many questions wait for this client already")
        self._next, self._answers = (wanted.state, served_by), {}
        self._open = set(wanted.requests)
        if not self._open:
            pause = min(BACKOFF << (self._count - 1), BACKOFF_MAX)
            self._timer = self._hub.clock.after(pause, self._go_on)
            return
        self._timer = self._hub.clock.after(self._hub.gateway.answer_span, self._expire)
        for key, asked in wanted.requests.items():
            if not self._put(key, asked):
                raise Interactive("The client takes no question during this call")

    def _check_declared(self, wanted: InputRequired) -> None:
        for asked in wanted.requests.values():
            missing = missing_for(asked.method, asked.params, self._receiver.call.capabilities)
            if missing:
                raise Interactive(
                    f"The server asks the client for {asked.method}, and at `initialize` it did "
                    f"not declare {_encode(missing).decode()}"
                )

    def _put(self, key: str, asked: Asked) -> bool:
        params, page = bytes(asked.params), None
        if asked.method == ELICIT and (page := _page(key, params)):
            page_id = self._pages.setdefault(page, self._hub.ids())
            params = with_members(params, {"elicitationId": _encode(page_id)})

        def answered(result: bytes, error: bytes) -> None:
            if page and not error and _fields(result).get("action") == "accept":
                self._accepted[page] = self._pages[page]
            self._answered(key, asked.method, result, error)

        return self._receiver.replies.ask(asked.method, params, answered)

    def _answered(self, key: str, method: str, result: bytes, error: bytes) -> None:
        if error and (method != ELICIT or error == GONE):
            said = _fields(error).get("message", "")
            self._receiver.refuse(Interactive(f"The client refused {method}: {said!s:.300}"))
            return
        self._answers[key] = CANCEL if error else Raw(result)
        self._open.discard(key)
        if not self._open:
            self._go_on()

    def _go_on(self) -> None:
        """The next round."""
        self._stop_waiting()
        state, server = self._next
        params = {**self._params}
        if self._answers:
            params["inputResponses"] = Raw(_encode(self._answers))
        if state:
            params["requestState"] = state
        hub, receiver = self._hub, self._receiver
        receiver.call = structs.replace(
            receiver.call, id=hub.ids(), params=params, only=server,
            deadline=hub.clock.now() + receiver.span,
        )  # fmt: skip
        try:
            self._passage = hub.gateway.start(receiver.call, receiver)
        except HubError as error:
            receiver.refuse(error)

    def _expire(self) -> None:
        self._receiver.refuse(Interactive("The client did not answer in time"))

    # ------------------------------------------------------------ pages that the user opens

    def _complete(self, wanted: InputRequired | None) -> None:
        """Old clients are told that a page is done: it is when it is not asked for again."""
        requests = wanted.requests if wanted else {}
        again = {_page(key, asked.params) for key, asked in requests.items()}
        for page in self._accepted.keys() - again:
            params = _encode({"elicitationId": self._accepted.pop(page)})
            self._receiver.replies.notify(COMPLETE, params)
            del self._pages[page]

    # ------------------------------------------------------------ its end

    def ended(self) -> None:
        """The client is about to get its answer."""
        self._complete(None)
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._hub.gateway.waiting.discard(self)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # ------------------------------------------------------------ UnderWay

    def cancel(self, cause: Cause) -> None:
        if self._passage is not None:
            self._passage.cancel(cause)
        elif cause is Cause.SHUTDOWN:
            self._receiver.refuse(Overloaded("The hub is stopping"))
        else:
            self._receiver.refuse(Interactive("The client gave the call up"))

    def pause(self) -> None:
        self._tell(Passage.pause)

    def resume(self) -> None:
        self._tell(Passage.resume)

    def _tell(self, what: Callable[[Passage], None]) -> None:
        if self._passage is not None:
            what(self._passage)


def _page(key: str, params: bytes | Raw) -> tuple[str, str] | None:
    """What the user is asked to open, if that is the question."""
    asked = _fields(params)
    return (key, str(asked.get("url"))) if asked.get("mode") == "url" else None
