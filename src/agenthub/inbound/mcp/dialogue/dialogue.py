"""Questions that servers ask in the middle of a call, in all four pairs of eras.

    client    server    the question comes as          and goes to the client
    ─────────────────────────────────────────────────────────────────────────────────────────────
    legacy    legacy    a request in the attempt       live, on the request's stream
    legacy    modern    `input_required`               live; the hub calls again (rounds.py)
    modern    legacy    a request in the attempt       `input_required`, parked (parking.py)
    modern    modern    `input_required`               as it came, its state sealed (seal.py)

Nothing of it costs a call that is not asked in anything: it begins with the first question.
Source: MCP specification 2026-07-28, "Patterns, MRTR"; rules R33, R34.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain.call import Call, Era
from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, InvalidParams, UpstreamProtocol
from agenthub.domain.events import Event, ServerChanged, ViewChanged
from agenthub.domain.outcome import Cause
from agenthub.domain.view import view_of
from agenthub.hub import Hub
from agenthub.inbound.mcp.answer import CallReceiver
from agenthub.inbound.mcp.asking import check_declared, name_asker
from agenthub.inbound.mcp.dialogue.parking import Parking
from agenthub.inbound.mcp.dialogue.rounds import Rounds
from agenthub.inbound.mcp.dialogue.seal import Seal, What
from agenthub.inbound.mcp.forgery import without_hub_keys
from agenthub.inbound.mcp.tasks import Task, TaskIds
from agenthub.passage import Passage
from agenthub.ports import Question
from agenthub.wire.jsonrpc import with_members
from agenthub.wire.questions import (
    ELICIT,
    MAY_ASK,
    missing_for,
    naming,
    read_input_required,
)

UNDECLARED: Final = b'{"code":-32601,"message":"The client did not declare that it answers this"}'
UNREACHABLE: Final = b'{"code":-32603,"message":"The client takes no question during this call"}'
NOT_STRING: Final = "params.requestState: expected a string"

_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode


class _Elicitation(Struct):
    url: str
    message: str = ""


class _Elicitations(Struct):
    elicitations: list[_Elicitation]


class Dialogue:
    """Of one door. Receivers bring what servers ask; the door brings what clients answer."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        span = hub.gateway.answer_span
        self._seal = Seal(hub.session_secret, hub.clock, span)
        self.parking = Parking(hub.clock, span, hub.keys.left)
        hub.keys.listeners.append(self._key_changed)
        hub.bus.sinks.append(self._event)
        self.tasks = TaskIds(hub.session_secret)

    # ------------------------------------------------------------ from servers

    def asked(self, receiver: CallReceiver, question: Question, passage: Passage) -> None:
        """A server of the old era asks."""
        call, replies = receiver.call, receiver.replies
        if receiver.face:
            named = naming(receiver.face, question.method, question.params)
            question = structs.replace(question, params=named)
        if missing_for(question.method, question.params, call.capabilities):
            passage.answer(question.id, b"", UNDECLARED)
        elif call.era is Era.MODERN:
            self.parking.asked(receiver, question, passage)
        else:

            def answered(result: bytes, error: bytes) -> None:
                passage.answer(question.id, result, error)

            params = without_hub_keys(question.params)
            if not replies.ask(question.method, params, answered):
                passage.answer(question.id, b"", UNREACHABLE)

    def input_required(self, receiver: CallReceiver, result: bytes, served_by: str) -> None:
        """A server of the new era asks. Raises HubError, or ValueError for a wrong shape."""
        call = receiver.call
        if call.method not in MAY_ASK:
            raise UpstreamProtocol(f"The server asks the client something during {call.method}")
        wanted = read_input_required(result)
        if receiver.face and wanted.requests:
            result, wanted = name_asker(receiver.face, result, wanted)
        if call.era is Era.LEGACY:
            if receiver.rounds is None:
                receiver.rounds = Rounds(self._hub, receiver)
            receiver.rounds.asked(wanted, served_by)
            return
        check_declared(wanted, call.capabilities)
        if wanted.state or served_by != call.endpoint:
            state = self._seal.close(
                call, receiver.address, served_by, What.ANSWER, wanted.state or None
            )
            result = with_members(result, {"requestState": _encode(state)})
        elif not wanted.requests:
            raise UpstreamProtocol("The server asks for nothing, and gave no state")
        receiver.replies.result(result)

    def pages(self, receiver: CallReceiver, data: Raw, served_by: str) -> None:
        """A server of the old era ended with -32042: the user has to open pages first."""
        call = receiver.call
        found = msgspec.json.decode(bytes(data) or b"{}", type=_Elicitations).elicitations
        asked = {
            f"q{number}": {
                "method": ELICIT,
                "params": {"mode": "url", "url": one.url, "message": one.message},
            }
            for number, one in enumerate(found, 1)
        }
        if not asked:
            raise UpstreamProtocol("The server wants pages opened and names none")
        raw = _encode({"resultType": "input_required", "inputRequests": asked})
        wanted = read_input_required(raw)
        if receiver.face:
            raw, wanted = name_asker(receiver.face, raw, wanted)
        check_declared(wanted, call.capabilities)
        state = self._seal.close(call, receiver.address, served_by, What.AGAIN, None)
        receiver.replies.result(with_members(raw, {"requestState": _encode(state)}))

    # ------------------------------------------------------------ from clients

    def retry(self, receiver: CallReceiver) -> Passage:
        """The next round of a call. Raises HubError."""
        call, gateway = receiver.call, self._hub.gateway
        raw = call.params.get("requestState")
        if raw is None:
            return gateway.start(call, receiver)  # the first server asked, and gave no state
        if bytes(raw)[:1] != b'"':
            raise InvalidParams(NOT_STRING)
        text = _text(raw)
        parked = self.parking.find(text, receiver)
        if parked is not None:
            self._hub.catalog.routes.check(call)  # its key may be another than when it began
            return parked.resume(receiver)
        opened = self._seal.open(text, call, receiver.address, self._servers(call))
        params = {key: value for key, value in call.params.items() if key != "requestState"}
        if opened.what is What.AGAIN:
            params.pop("inputResponses", None)
        elif opened.state is not None:
            params["requestState"] = opened.state
        receiver.call = structs.replace(call, params=params, only=opened.server)
        receiver.nonce = opened.nonce
        self._seal.use(opened.nonce)
        try:
            return gateway.start(receiver.call, receiver)
        except HubError:
            self._seal.release(opened.nonce)
            raise

    def _key_changed(self, key_id: str) -> None:
        """Who may come in no more does not come back to a call."""
        for parked in list(self.parking.kept):
            if parked.caller.id == key_id and not self._hub.keys.holds(parked.caller):
                parked.leave(Cause.CLIENT)

    def _event(self, event: Event) -> None:
        """Nobody comes back to a call of a server that was removed, nor at a view that was."""
        if not isinstance(event, ServerChanged | ViewChanged) or event.state != "removed":
            return
        for parked in list(self.parking.kept):
            if isinstance(event, ServerChanged):
                is_gone = parked.endpoint == event.endpoint
            else:
                is_gone = view_of(parked.address) == event.view
            if is_gone:
                parked.leave(Cause.CLIENT)

    def may_share(self, server: str) -> bool:
        """Whether everybody is answered the same by this server; not if it is gone meanwhile."""
        every = self._hub.catalog.all_servers()
        return self._hub.keys.alike and any(
            one.name == server and not one.endpoint.is_per_caller for one in every
        )

    def release(self, nonce: str) -> None:
        """The round that this state began did surely not take place."""
        self._seal.release(nonce)

    def task(self, text: str, caller: Caller) -> Task:
        """What a client means by the id of a task. Raises UnknownTask."""
        servers = (server.name for server in self._hub.catalog.all_servers())
        return self.tasks.open(text, caller.id, servers)

    def _servers(self, call: Call) -> Iterator[str]:
        """Which may have asked; the likeliest first."""
        yield call.endpoint
        for server in self._hub.catalog.all_servers():
            yield server.name
