"""What an old server asks the client in the middle of one attempt.

    heard ──► refused: an error goes back at once, and the call goes on
      └─────► open ──answered───► the client's answer goes back under the server's own id
                └────withdrawn──► a late answer is nothing

The client is given ids of the hub's own, never twice the same: a server that uses an id again
cannot have the answer to one question taken for that to another. What the session did not declare
is refused as a client would. Who asks too much is ended (A35).

Source: MCP specification 2025-11-25, "Client Features" (error codes), "Cancellation".
"""

from collections.abc import Callable
from itertools import count
from typing import Final

import msgspec
from msgspec import Struct

from agenthub.domain.span import Nanoseconds
from agenthub.outbound import mcp_message as wire
from agenthub.outbound.flood import Tally
from agenthub.outbound.mcp_message import Message
from agenthub.ports import AttemptReceiver, Question
from agenthub.wire.questions import QUESTIONS, missing_for

NOBODY: Final = b"{}"
"""What a session declares that all clients share."""
OPEN_MAX: Final = 16
"""Questions of one attempt that may wait for the client at a time."""
ASKED_MAX: Final = 200
"""Requests of one attempt in a minute (pages of `flood`); no person answers so many."""
TOO_MANY: Final = "the server asked more than its client can answer"
NO_METHOD, INVALID_PARAMS, INTERNAL = -32601, -32602, -32603


class Asking:
    """The questions of one attempt."""

    __slots__ = ("_declared", "_deliver", "_mint", "_open", "_post", "_tally")

    def __init__(
        self, declared: bytes, post: Callable[[bytes], None], deliver: Callable[[bytes], None]
    ) -> None:
        """`declared`: as the session began with, raw JSON.

        Both others send a message to the server; `deliver` one that must arrive.
        """
        self._declared = declared
        self._post = post
        self._deliver = deliver
        self._mint = count(1).__next__
        self._tally = Tally(ASKED_MAX)
        self._open: dict[int, int | str] = {}
        """The hub's id of each open question → the server's."""

    @property
    def is_open(self) -> bool:
        """Whether the server waits for the client."""
        return bool(self._open)

    def hear(
        self, message: Message, server_id: int | str, receiver: AttemptReceiver, now: Nanoseconds
    ) -> bool:
        """A request of the server, whatever it is. False: it is one too many, end the attempt."""
        if self._tally.add(len(message.params), now):
            return False
        if message.method == "ping":
            self._post(wire.pong(server_id))
        elif any(_same(server_id, known) for known in self._open.values()):
            pass  # An error would be taken for the answer to the open one.
        elif refused := self._refused(message):
            self._post(wire.answer(server_id, b"", refused))
        else:
            number = self._mint()
            self._open[number] = server_id
            params = bytes(message.params) or b"{}"
            receiver.asked(Question(number, message.method, params))
        return True

    def answer(self, question_id: int | str, result: bytes, error: bytes) -> None:
        """From the client."""
        server_id = self._open.pop(question_id, None) if type(question_id) is int else None
        if server_id is not None:
            self._deliver(wire.answer(server_id, result, error))

    def withdraw(self, message: Message) -> None:
        """`notifications/cancelled`: the server takes a question of its own back."""
        wanted = wire.cancelled_id(message.params)
        for number, server_id in self._open.items():
            if _same(server_id, wanted):
                del self._open[number]
                return

    def _refused(self, message: Message) -> bytes:
        """An error object; empty: the client may be asked."""
        method, params = message.method, bytes(message.params) or b"{}"
        if method not in QUESTIONS:
            return _error(NO_METHOD, f"The client behind this hub does not know {method[:100]}")
        if not params.startswith(b"{"):
            return _error(INVALID_PARAMS, "The params are no object")
        if missing := missing_for(method, params, self._declared):
            # A client that knows nothing of the method, and one that knows a part of it.
            code = INVALID_PARAMS if any(missing.values()) else NO_METHOD
            words = msgspec.json.encode(missing).decode()
            return _error(code, f"The client did not declare {words}, which {method} needs")
        if len(self._open) >= OPEN_MAX:
            return _error(INTERNAL, f"{OPEN_MAX} questions wait for the client already")
        return b""


class _Error(Struct, frozen=True):
    code: int
    message: str


def _error(code: int, message: str) -> bytes:
    return msgspec.json.encode(_Error(code, message))


def _same(one: int | str, other: int | str | None) -> bool:
    return type(one) is type(other) and one == other


def refuse_all(method: str) -> bytes:
    """The error for a request that belongs to no attempt: there is nobody to ask."""
    return _error(NO_METHOD, f"The hub is in no call whose client it could ask for {method[:100]}")
