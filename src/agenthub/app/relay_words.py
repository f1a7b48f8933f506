"""The running hub's own words, through the waist of the small hub before it.

    hub's error ─► Muffled: an error that blames nobody ─► waist ─► PlainGateway: the hub's error

Between the two the error travels whole in the reply. Without this the waist would take it for a
forgery, and count what other servers did against the hub.
"""

from typing import Any, cast

import msgspec
from msgspec import Raw, Struct, field, structs

from agenthub.domain.call import Call
from agenthub.domain.errors import BY_SLUG, HubError
from agenthub.domain.outcome import Ending, Reply
from agenthub.gateway import Gateway
from agenthub.inbound.mcp.terms import IDEMPOTENCY_KEY, INVALID_PARAMS, SERVED_BY
from agenthub.passage import Answer, Passage, Receiver
from agenthub.ports import (
    Attempt,
    AttemptReceiver,
    Outgoing,
    Question,
    Upstream,
    UpstreamState,
)


class Muffled:
    """ports.Upstream over another one: its errors say nothing of its health."""

    def __init__(self, inner: Upstream) -> None:
        self._inner = inner

    @property
    def state(self) -> UpstreamState:
        return self._inner.state

    def start(self) -> None:
        self._inner.start()

    def send(self, outgoing: Outgoing, receiver: AttemptReceiver) -> Attempt:
        return self._inner.send(outgoing, _MuffledReceiver(receiver))

    async def close(self) -> None:
        await self._inner.close()


class _MuffledReceiver:
    def __init__(self, receiver: AttemptReceiver) -> None:
        self._receiver = receiver

    def notified(self, method: str, params: bytes) -> None:
        self._receiver.notified(method, params)

    def asked(self, question: Question) -> None:
        self._receiver.asked(question)

    def finished(self, reply: Reply) -> None:
        if reply.ending is Ending.ERROR:
            reply = structs.replace(reply, code=INVALID_PARAMS, status=0)
        self._receiver.finished(reply)


class PlainGateway(Gateway):
    """A gateway whose answers are the running hub's."""

    def start(self, call: Call, receiver: Receiver) -> Passage:
        if call.idempotency_key is not None:  # The running hub keeps it; it must come there.
            meta = {**call.meta, IDEMPOTENCY_KEY: Raw(msgspec.json.encode(call.idempotency_key))}
            call = structs.replace(call, idempotency_key=None, meta=meta)
        return super().start(call, _PlainReceiver(receiver))


class _PlainReceiver:
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def notified(self, method: str, params: bytes) -> None:
        self._receiver.notified(method, params)

    def asked(self, question: Question, passage: Passage) -> None:
        self._receiver.asked(question, passage)

    def finished(self, answer: Answer) -> None:
        self._receiver.finished(_plain(answer))


def _plain(answer: Answer) -> Answer:
    reply = answer.reply
    if reply is None:
        return answer
    try:
        if reply.ending is Ending.ERROR:
            return _plain_error(answer, reply)
        served_by = msgspec.json.decode(reply.result, type=_Result).meta.get(SERVED_BY)
    except ValueError:
        return answer
    return structs.replace(answer, served_by=served_by) if isinstance(served_by, str) else answer


def _plain_error(answer: Answer, reply: Reply) -> Answer:
    said = msgspec.json.decode(reply.error, type=_Error)
    facts = cast("dict[str, Any]", said.data) if isinstance(said.data, dict) else {}
    kind = BY_SLUG.get(str(facts.get("code")))
    if kind is None or kind.code != said.code:
        return structs.replace(answer, reply=structs.replace(reply, code=said.code))
    error: HubError = kind(said.message, **{name: facts[name] for name in FACTS if name in facts})
    return structs.replace(answer, reply=None, error=error)


FACTS = ("retry_after_ms", "executed", "server", "tool", "attempt_count", "request_id")


class _Error(Struct):
    code: int = INVALID_PARAMS
    message: str = ""
    data: Any = None


class _Result(Struct):
    meta: dict[str, Any] = field(name="_meta", default_factory=dict[str, Any])
