"""What a client of the old era was asked and has not answered, by ids that the hub made up.

An answer counts once, and only from the client that was asked: each session has its own table, and
nobody can guess an id (A15, A40).
"""

import secrets
from typing import Final

import msgspec
from msgspec import Raw, Struct

from agenthub.inbound.mcp.terms import Answered
from agenthub.wire.jsonrpc import Message

GONE: Final = b'{"code":-32603,"message":"The client has gone"}'
"""The answer to what nobody is left to answer."""

NO_OBJECT: Final = b'{"code":-32602,"message":"The client answered with no object"}'


class _Open(Struct):
    owner: object
    answered: Answered


class Questions:
    """Of one session. An owner is the request in the middle of which something was asked."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def put(self, owner: object, answered: Answered) -> str:
        """The id under which to ask."""
        question_id = secrets.token_urlsafe(12)
        self._open[question_id] = _Open(owner, answered)
        return question_id

    def answer(self, message: Message) -> None:
        """A response of the client; to what was not asked, or answered before, it is nothing."""
        question_id = msgspec.json.decode(message.id)
        question = self._open.pop(question_id, None)
        if question is not None:
            result, error = bytes(message.result), bytes(message.error)
            if (result or error)[:1] != b"{":
                result, error = b"", NO_OBJECT
            question.answered(result, error)

    def forget(self, owner: object) -> list[str]:
        """The request is over: what it asked needs no answer. Returns the ids."""
        ids = [question_id for question_id, one in self._open.items() if one.owner is owner]
        for question_id in ids:
            del self._open[question_id]
        return ids

    def give_up(self, owner: object = None) -> None:
        """The client of this request, or of all, has gone and will not answer."""
        for question_id, question in list(self._open.items()):
            wanted = owner is None or question.owner is owner
            # The first that is given up may end the call, and with it the others.
            if wanted and self._open.pop(question_id, None) is not None:
                question.answered(b"", GONE)


def withdrawal(question_id: str) -> Raw:
    """The params of `notifications/cancelled` for a question that needs no answer any more."""
    return Raw(msgspec.json.encode({"requestId": question_id, "reason": "The call is over"}))
