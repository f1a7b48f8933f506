"""What the MCP door answers, whatever the transport: lists from the catalog, calls by the gateway.

What a client sees at an address is its face (`face.py`). Discover, initialize, ping and the
lists are answered from what the hub knows, so that no sick server delays them.

Source: MCP specification 2026-07-28 and 2025-11-25.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, structs

from agenthub.domain.caching import PRIVATE, PUBLIC, merged
from agenthub.domain.call import ANSWERS, TASK_METHODS, Call, Era
from agenthub.domain.errors import HubError, InvalidParams, UnknownTarget
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.domain.view import server_of
from agenthub.hub import Hub
from agenthub.inbound.mcp.answer import CallReceiver
from agenthub.inbound.mcp.asking import MissingCapability
from agenthub.inbound.mcp.dialogue.dialogue import Dialogue
from agenthub.inbound.mcp.face import COMPLETE, READ, Faces, unknown
from agenthub.inbound.mcp.said import said_in
from agenthub.inbound.mcp.search import (
    SEARCH,
    ToolSearch,
    called,
    names_own,
    offered,
    stand_in,
)
from agenthub.inbound.mcp.tasks import Task, UnknownTask, declares_tasks
from agenthub.inbound.mcp.terms import (
    DEADLINE_KEY,
    IDEMPOTENCY_KEY,
    INVALID_PARAMS,
    LOG_LEVEL_KEY,
    METHOD_NOT_FOUND,
    SERVER_INFO,
    SERVER_INFO_KEY,
    SUPPORTED,
    TASKS,
    Context,
    Replies,
)
from agenthub.listing import Kind
from agenthub.passage import Passage
from agenthub.server import Server
from agenthub.wire.jsonrpc import Message, without_members
from agenthub.wire.mcp_headers import check_params, received_params
from agenthub.wire.questions import permitted
from agenthub.wire.trace import SPAN_HEX, TRACE_PARENT, continued

HARD_CAP_MS: Final = 300_000
CALLS: Final = {"tools/call": "name", "prompts/get": "name", READ: "uri", COMPLETE: "ref"}
"""Methods that a server answers, and the parameter that names their target."""
_META: Final = b'"_meta":{"%b":%b}}' % (SERVER_INFO_KEY.encode(), SERVER_INFO)
_DISCOVERED: Final = b',"resultType":"complete","ttlMs":60000,"cacheScope":"private",%b' % _META
"""Ends what the hub says of itself; what a face can do may depend on the key."""

_encode = msgspec.json.Encoder().encode
_raw_list = msgspec.json.Decoder(list[Raw]).decode


class McpDoor:
    """Answers requests. One for the hub; stateless but for what the hub knows."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.dialogue = Dialogue(hub)
        self.faces = Faces(hub)
        self._search = ToolSearch()
        lists = {kind.method: self._list(kind) for kind in Kind}
        self._local: dict[Era, dict[str, Callable[[Message, Context, Replies], None]]] = {
            Era.MODERN: {**lists, "server/discover": self._discover},
            Era.LEGACY: {**lists, "ping": _pong},
        }
        self._plain: dict[tuple[str, bool, str], tuple[bytes, bytes]] = {}
        """Tool lists as they were rendered, and without what old clients cannot read."""

    def request(self, message: Message, context: Context, replies: Replies) -> Passage | None:
        """Answer a request, now or later; what is returned can be cancelled.

        Transports handle what belongs to their own life: initialize, subscriptions, cancelled.
        """
        try:
            name_key = CALLS.get(message.method)
            if name_key is not None:
                if context.caller.search != "off" and names_own(message):
                    return self._instead(message, context, replies)
                return self._call(message, context, replies, name_key)
            answer = self._local[context.era].get(message.method)
            if answer is None and message.method in TASK_METHODS and context.era is Era.MODERN:
                return self._call(message, context, replies, "taskId")
            if answer is None:
                replies.error(METHOD_NOT_FOUND, f"Method not found: {message.method[:64]}")
            else:
                answer(message, context, replies)
        except HubError as error:
            self.refuse(error, message, replies)
        return None

    def refuse(self, error: HubError, message: Message, replies: Replies) -> None:
        """Answer with an error of the hub; one that came before the call gets an id, too."""
        error.request_id = error.request_id or self.hub.ids()
        data = error.data()
        if isinstance(error, UnknownTarget) and message.method == READ:
            data["uri"] = message.parsed.get("uri")
        replies.error(error.code, str(error), data)

    def close(self) -> None:
        """The hub stops: no client can come back to a call."""
        self.dialogue.parking.close()

    # ------------------------------------------------------------ calls

    def _call(
        self, message: Message, context: Context, replies: Replies, name_key: str
    ) -> Passage | None:
        parsed = message.parsed
        name = parsed.get(name_key) if name_key != "ref" else _completed_for(parsed.get("ref"))
        if type(name) is not str or not name:
            raise InvalidParams(f"params.{name_key}: expected a name")
        endpoint, bare, task = context.endpoint, name, None
        if name_key == "taskId":
            task = self.task(name, context)
            endpoint, bare = task.endpoint, task.id
        elif endpoint is None or context.caller.reach is not None:
            endpoint, bare = self.faces.locate(message.method, name, context)
        hub, said = self.hub, said_in(message)
        call_id, key = hub.ids(), context.idempotency_key
        passed_on = _passed_on(said.passed_on, context, call_id)
        if key is not None or said.idempotency_key is not None:
            key = _idempotency_key(said.idempotency_key, key)
        server = hub.catalog.find_mcp(endpoint, context.caller)
        if server is None:
            raise unknown(message.method, name)
        params, span = message.params, _span(server, bare, said.deadline)
        answers = task is None and not ANSWERS.isdisjoint(params)
        if answers and context.era is Era.LEGACY:
            # Means nothing in the old era; passed on, it would go round the seal of a state.
            params = {name: raw for name, raw in params.items() if name not in ANSWERS}
            answers = False
        call = Call(
            call_id, context.caller, context.door, endpoint, message.method, bare, params,
            passed_on, hub.clock.now() + span, context.era,
            permitted(context.capabilities, server.endpoint.questions),
            context.client_info, key, context.size_bytes, parsed.get("arguments"),
        )  # fmt: skip
        if task is not None:
            call = structs.replace(call, only=task.server, tool=task.tool)
        elif context.headers and message.method == "tools/call":
            _check_headers(server, call, context)
        face = "" if context.endpoint == endpoint else endpoint
        receiver = CallReceiver(call, replies, face, context.endpoint, span, self.dialogue)
        return self.dialogue.retry(receiver) if answers else hub.gateway.start(call, receiver)

    def task(self, task_id: str, context: Context) -> Task:
        """The task that is meant at this face. Raises MissingCapability, UnknownTask."""
        if not declares_tasks(context.capabilities):
            raise MissingCapability({"extensions": {TASKS: {}}})
        task = self.dialogue.task(task_id, context.caller)
        if server_of(context.endpoint) not in {None, task.endpoint}:
            raise UnknownTask
        return task

    def _instead(self, message: Message, context: Context, replies: Replies) -> Passage | None:
        """A call of `search_tools` or `call_tool`, if they are offered here."""
        name, sure = message.parsed["name"], context.caller.search == "on"
        tools = [] if sure and name != SEARCH else list(self.faces.items(Kind.TOOLS, context))
        if sure or stand_in(context.caller, len(tools)):
            if name == SEARCH:
                self._search.answer(message, context, tools, replies)
                return None
            # The headers repeat what the client knew of the call: nothing of its real arguments.
            message, context = called(message), structs.replace(context, headers=())
        return self._call(message, context, replies, "name")

    # ------------------------------------------------------------ what the hub answers itself

    def _list(self, kind: Kind) -> Callable[[Message, Context, Replies], None]:
        head = b'{"%b":[' % kind.key.encode()

        def answer(message: Message, context: Context, replies: Replies) -> None:
            if "cursor" in message.params:
                # All pages of all servers are one page here, so no cursor was ever handed out.
                replies.error(INVALID_PARAMS, "Invalid cursor: this list has one page")
                return
            pieces = self._pieces(kind, context)
            tail = self._tail(kind, context) if context.era is Era.MODERN else b"}"
            replies.result(b"%b%b]%b" % (head, b",".join(filter(None, pieces)), tail))

        return answer

    def _tail(self, kind: Kind, context: Context) -> bytes:
        """Ends a list: how long it may be kept, and by whom (§1.6)."""
        said = (server.caching(kind) for server in self.faces.servers(context))
        whole = merged(one for one in said if one is not None)
        scope = PUBLIC if whole.public and self.hub.keys.alike else PRIVATE
        return b',"resultType":"complete","ttlMs":%d,"cacheScope":%b,%b' % (
            whole.ttl_ms, scope, _META,
        )  # fmt: skip

    def _pieces(self, kind: Kind, context: Context) -> list[bytes]:
        """What the list is made of."""
        caller = context.caller
        if caller.reach is None and caller.search == "off":
            return [self._piece(s, kind, context) for s in self.faces.servers(context)]
        items = list(self.faces.items(kind, context))
        if kind is Kind.TOOLS and stand_in(caller, len(items)):
            return offered(caller)
        if kind is Kind.TOOLS and context.era is Era.LEGACY:
            return [_for_old_clients(item) for item in items]
        return items

    def _piece(self, server: Server, kind: Kind, context: Context) -> bytes:
        prefixed, style = context.endpoint is None, context.caller.names
        piece = server.shown(kind, prefixed=prefixed, style=style)
        if context.era is Era.MODERN or kind is not Kind.TOOLS or b'"outputSchema"' not in piece:
            return piece
        key = (server.name, prefixed, style)
        kept = self._plain.get(key)
        if kept is None or kept[0] is not piece:
            tools = _raw_list(b"[%b]" % piece)
            kept = (piece, b",".join(_for_old_clients(bytes(tool)) for tool in tools))
            if len(self._plain) > 1_000:
                self._plain.clear()
            self._plain[key] = kept
        return kept[1]

    def _discover(self, message: Message, context: Context, replies: Replies) -> None:
        del message
        found: dict[str, Any] = {
            "supportedVersions": SUPPORTED,
            "capabilities": self.capabilities(context),
        }
        if instructions := self.faces.instructions(context):
            found["instructions"] = instructions
        replies.result(_encode(found)[:-1] + _DISCOVERED)

    def capabilities(self, context: Context) -> dict[str, Any]:
        """What the face can do: whatever any of its servers can, as far as the hub relays it."""
        merged: dict[str, Any] = {}
        for server in self.faces.servers(context):
            declared = declared_by(server)
            for name in ("tools", "prompts", "resources"):
                if isinstance(declared.get(name), dict):
                    merged.setdefault(name, {"listChanged": True})
            for name in ("completions", "logging"):
                if isinstance(declared.get(name), dict):
                    merged[name] = {}
            if can_subscribe(declared):
                merged["resources"]["subscribe"] = True
            extensions = declared.get("extensions")
            if context.era is Era.MODERN and isinstance(extensions, dict):
                # What an old server calls tasks has other methods.
                old = server.state.era is Era.LEGACY
                carried = {k: v for k, v in extensions.items() if k != TASKS or not old}  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
                merged.setdefault("extensions", {}).update(carried)
        if not merged:
            merged["tools"] = {"listChanged": True}
        return merged


def declared_by(server: Server) -> dict[str, Any]:
    """The capabilities that a server last declared."""
    return msgspec.json.decode(server.listing.capabilities) if server.listing else {}


def can_subscribe(declared: Mapping[str, Any]) -> bool:
    resources = declared.get("resources")
    return isinstance(resources, dict) and bool(resources.get("subscribe"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def _passed_on(said: Mapping[str, Raw], context: Context, call_id: str) -> Mapping[str, Raw]:
    """What goes on to the server of what the client says in `_meta`, and said before."""
    if context.log_level:  # An old client said it once, for its session.
        said = {**said, LOG_LEVEL_KEY: Raw(context.log_level)}
    return continued(said, call_id[:SPAN_HEX]) if TRACE_PARENT in said else said


def _check_headers(server: Server, call: Call, context: Context) -> None:
    """Raises HeaderMismatch."""
    facts = server.facts(call.name)
    if facts is not None and facts.headers:
        check_params(facts.headers, call.arguments, received_params(context.headers))


def _span(server: Server, tool: str, wish: Raw | None) -> Nanoseconds:
    """The shortest of the client's wish, the tool's or the server's, 300 s (R40)."""
    endpoint = server.endpoint
    span = endpoint.timeouts.call_ms
    policy = endpoint.tools.get(tool) if endpoint.tools else None
    if policy and policy.timeout_ms:
        span = policy.timeout_ms
    if wish is not None:
        span = min(span, _milliseconds(wish))
    return min(span, HARD_CAP_MS) * MILLISECOND


def _pong(message: Message, context: Context, replies: Replies) -> None:
    del message, context
    replies.result(b"{}")


def _completed_for(ref: Any) -> Any:
    """The prompt's name or the resource's URI that is completed for."""
    if not isinstance(ref, dict):
        return None
    return ref.get("uri" if ref.get("type") == "ref/resource" else "name")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _for_old_clients(tool: bytes) -> bytes:
    """Until 2025-11-25 `outputSchema` has the root type object; what has not is left out."""
    shape = msgspec.json.decode(tool).get("outputSchema")
    return tool if _is_object_schema(shape) else without_members(tool, ("outputSchema",))


def _is_object_schema(shape: Any) -> bool:
    return isinstance(shape, dict) and shape.get("type") == "object"  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _milliseconds(wish: Raw) -> int:
    try:
        return max(1, msgspec.json.decode(wish, type=int))
    except ValueError:
        raise InvalidParams(f"_meta.{DEADLINE_KEY}: expected milliseconds") from None


def _idempotency_key(raw: Raw | None, header: str | None) -> str:
    """What is said in `_meta` counts, else the header."""
    try:
        key = header if raw is None else msgspec.json.decode(raw, type=str)
    except ValueError:
        key = ""
    if key is None or not 1 <= len(key) <= 256:
        raise InvalidParams(f"_meta.{IDEMPOTENCY_KEY}: expected 1 to 256 characters")
    return key
