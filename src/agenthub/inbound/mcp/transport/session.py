"""Legacy sessions: what a client of the old era said at `initialize`, carried in its session's id.

    Mcp-Session-Id = base64url(facts) "." base64url(HMAC-SHA256(hub's secret, facts))

So a session outlives a restart and any other process with the same secret can serve it; what is
kept here is only what happened since (log level, subscriptions, calls under way), and a bounded
number of it. An id opens nothing by itself: it is bound to the principal and to the address.

Source: MCP specification 2025-11-25, "Streamable HTTP, Session Management"; attacks A17, A40.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain.call import Era
from agenthub.domain.caller import Caller
from agenthub.domain.errors import InvalidParams
from agenthub.domain.outcome import Cause
from agenthub.inbound.mcp.dialogue.questions import Questions
from agenthub.inbound.mcp.terms import LEGACY_VERSIONS, LOG_LEVELS, TASKS, Context
from agenthub.inbound.mcp.transport.event_store import Shelf
from agenthub.wire import base64url
from agenthub.wire.jsonrpc import Message, without_members

ID_MAX: Final = 4_096
"""Characters of a session's id: it comes back in a header with each request."""
DECLARED_MAX: Final = 1_024
"""Bytes of what a client may say of itself; what is beyond is not kept."""
KEPT_MAX: Final = 10_000
"""Sessions, and ended ones, that are remembered. Whoever has most of them loses the first."""
DEFAULT_LEVEL: Final = b'"info"'
"""Until a client says otherwise, the server decides. Source: 2025-11-25, "Logging"."""

_encode = msgspec.json.Encoder().encode


class Facts(Struct, frozen=True, array_like=True):
    """What a session's id says."""

    version: str
    principal: str
    endpoint: str | None
    """The face."""
    capabilities: Raw
    client_info: Raw
    """`{}` if it said nothing."""
    nonce: str


_facts = msgspec.json.Decoder(Facts).decode


class Running(Protocol):
    """A request under way."""

    def cancel(self, cause: Cause) -> None: ...


class News(Protocol):
    """The session's stream, a subscriptions.Subscription."""

    open: bool

    def resume(self) -> None: ...
    def end(self) -> None: ...


class Session:
    """One client of the old era, from `initialize` on."""

    def __init__(self, facts: Facts, caller: Caller, door: str) -> None:
        self.facts = facts
        info = bytes(facts.client_info)
        self.context = Context(
            caller, facts.endpoint, Era.LEGACY, _without_tasks(bytes(facts.capabilities)),
            b"" if info == b"{}" else info, DEFAULT_LEVEL, door,
        )  # fmt: skip
        self.running = RunningRequests()
        self.questions = Questions()
        self.shelf = Shelf()
        """What its streams have said."""
        self.subscribed: dict[tuple[str, str], str] = {}
        """(server, its own URI) → the URI as the client knows it."""
        self.stream: News | None = None
        self.told: Callable[[], None] | None = None
        """Called when the client has said something that its stream should remember."""

    def meet(self, caller: Caller) -> None:
        """The same principal again: what its key may see can have changed since."""
        if self.context.caller is not caller:
            self.context = structs.replace(self.context, caller=caller)

    @property
    def takes_empty_events(self) -> bool:
        """Whether the client knows an event without a message: it then has an id from the start."""
        return self.facts.version == LEGACY_VERSIONS[0]

    def set_level(self, message: Message) -> None:
        """Raises InvalidParams."""
        self.choose_level(message.parsed.get("level"))

    def choose_level(self, level: Any) -> None:
        """Raises InvalidParams."""
        if level not in LOG_LEVELS:
            raise InvalidParams(f"params.level: expected one of {', '.join(LOG_LEVELS)}")
        self.context = structs.replace(self.context, log_level=_encode(level))

    def cancelled(self, message: Message) -> None:
        """`notifications/cancelled`: reaches this session's own requests only (A40)."""
        self.running.cancel(bytes(message.params.get("requestId", b"")))

    def close(self) -> None:
        """It is over: what is under way is given up."""
        self.running.cancel_all(Cause.CLIENT)
        if self.stream is not None:
            self.stream.end()


class RunningRequests:
    """Of one client, by its own request ids, as they were written.

    An id that is in use already takes nothing from its owner (A15).
    """

    def __init__(self) -> None:
        self._requests: dict[bytes, list[Running]] = {}

    def add(self, message_id: bytes, request: Running) -> None:
        self._requests.setdefault(message_id, []).append(request)

    def discard(self, message_id: bytes, request: Running) -> None:
        requests = self._requests.get(message_id, [])
        if request in requests:
            requests.remove(request)
            if not requests:
                del self._requests[message_id]

    def cancel(self, message_id: bytes) -> None:
        for request in list(self._requests.get(message_id, ())):
            request.cancel(Cause.CLIENT)

    def cancel_all(self, cause: Cause) -> None:
        for requests in list(self._requests.values()):
            for request in list(requests):
                request.cancel(cause)


class Sessions:
    """All sessions of one hub over HTTP."""

    def __init__(self, secret: bytes, leave: Callable[[Session], None]) -> None:
        self._secret = secret
        self._leave = leave
        self._kept: dict[str, OrderedDict[str, Session]] = {}
        """By principal and id; of each the one that was used last at the end."""
        self._count = 0
        self._ended: OrderedDict[str, None] = OrderedDict()

    def begin(self, message: Message, caller: Caller, endpoint: str | None) -> tuple[str, Session]:
        """A session's id, and the session. Raises InvalidParams."""
        session = Session(read_initialize(message, caller, endpoint), caller, "mcp")
        facts = _encode(session.facts)
        session_id = f"{base64url.encode(facts)}.{base64url.encode(self._sign(facts))}"
        self._keep(session_id, session)
        return session_id, session

    def find(self, session_id: str, caller: Caller, endpoint: str | None) -> Session | None:
        """The session, if this caller began it at this face; whatever is wrong, None."""
        own = self._kept.get(caller.id)
        session = None if own is None else own.get(session_id)
        if session is None:
            facts = self._read(session_id)
            if facts is None:
                return None
            session = Session(facts, caller, "mcp")
        facts = session.facts
        if facts.principal != caller.id or facts.endpoint != endpoint:
            return None
        session.meet(caller)
        self._keep(session_id, session)
        return session

    def end(self, session_id: str, principal: str) -> None:
        """It opens nothing any more."""
        if session_id in self._kept.get(principal, ()):
            self._drop(principal, session_id)
        self._ended[session_id] = None
        if len(self._ended) > KEPT_MAX:
            self._ended.popitem(last=False)

    def _keep(self, session_id: str, session: Session) -> None:
        own = self._kept.setdefault(session.facts.principal, OrderedDict())
        self._count += session_id not in own
        own[session_id] = session
        own.move_to_end(session_id)
        if self._count > KEPT_MAX:
            most = max(self._kept, key=lambda principal: len(self._kept[principal]))
            self._drop(most, next(iter(self._kept[most])))

    def _drop(self, principal: str, session_id: str) -> None:
        own = self._kept[principal]
        session = own.pop(session_id)
        self._count -= 1
        if not own:
            del self._kept[principal]
        self._leave(session)

    def _read(self, session_id: str) -> Facts | None:
        if len(session_id) > ID_MAX or session_id in self._ended:
            return None
        try:
            facts, signature = (base64url.decode(part) for part in session_id.split("."))
            if not hmac.compare_digest(signature, self._sign(facts)):
                return None
            return _facts(facts)
        except ValueError:
            return None

    def _sign(self, facts: bytes) -> bytes:
        return hmac.digest(self._secret, facts, hashlib.sha256)


def read_initialize(message: Message, caller: Caller, endpoint: str | None) -> Facts:
    """What the client says of itself, bounded. Raises InvalidParams."""
    parsed = message.parsed
    wanted = parsed.get("protocolVersion")
    if not isinstance(wanted, str):
        raise InvalidParams("params.protocolVersion: expected a string")
    if not isinstance(parsed.get("capabilities", {}), dict):
        raise InvalidParams("params.capabilities: expected an object")
    version = wanted if wanted in LEGACY_VERSIONS else LEGACY_VERSIONS[0]
    capabilities = _bounded(parsed.get("capabilities", {}), ("sampling", "elicitation", "roots"))
    info = parsed.get("clientInfo")
    about = _bounded(info, ("name", "version")) if isinstance(info, dict) else b"{}"  # pyright: ignore[reportUnknownArgumentType]
    return Facts(
        version, caller.id, endpoint, Raw(capabilities), Raw(about),
        secrets.token_urlsafe(12),
    )  # fmt: skip


def _bounded(said: Mapping[str, Any], needed: tuple[str, ...]) -> bytes:
    """All of it if it is short, else what is needed of it, else nothing."""
    for kept in (said, {name: said[name] for name in needed if name in said}):
        raw = _encode(kept)
        if len(raw) <= DECLARED_MAX:
            return raw
    return b"{}"


def _without_tasks(capabilities: bytes) -> bytes:
    """What a client of the old era declared, which has no such extension whatever it says."""
    if b"tasks" not in capabilities and b"\\" not in capabilities:
        return capabilities
    declared = msgspec.json.decode(capabilities, type=dict[str, Raw])
    if "extensions" not in declared or bytes(declared["extensions"])[:1] != b"{":
        return capabilities
    declared["extensions"] = Raw(without_members(bytes(declared["extensions"]), (TASKS,)))
    return _encode(declared)
