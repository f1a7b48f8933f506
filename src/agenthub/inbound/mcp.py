"""What the MCP door answers, whatever the transport: lists from the catalog, calls by the gateway.

A *face* is what a client sees at an address: one server under its own names (`/mcp/{endpoint}`),
or all of them under `server__tool` names (`/mcp`). Discover, initialize, ping and the lists are
answered from what the hub knows, so that no sick server delays them.
Source: MCP specification 2026-07-28 and 2025-11-25.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from agenthub import __version__
from agenthub.domain import target
from agenthub.domain.call import Call, Era
from agenthub.domain.caller import Caller
from agenthub.domain.errors import HubError, UnknownTarget
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.gateway import Passage
from agenthub.hub import Hub
from agenthub.inbound.mcp_answer import CallReceiver
from agenthub.listing import Kind
from agenthub.server import Server
from agenthub.wire.jsonrpc import Message

MODERN = "2026-07-28"
LEGACY_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED = (MODERN, *LEGACY_VERSIONS)
PROTOCOL = "io.modelcontextprotocol/"
OWN_META = frozenset({
    PROTOCOL + "protocolVersion", PROTOCOL + "clientCapabilities", PROTOCOL + "clientInfo",
})  # fmt: skip
IDEMPOTENCY_META = "io.agenthub/idempotencyKey"
DEADLINE_META = "io.agenthub/deadlineMs"
HARD_CAP_MS = 300_000
LIST_TTL_MS = 60_000
"""How long a client may keep a list; a change is announced before."""
SERVER_INFO = msgspec.json.encode({"name": "agenthub", "title": "AgentHub", "version": __version__})

INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32600, -32601, -32602

_string = msgspec.json.Decoder(str)
_integer = msgspec.json.Decoder(int)


class Context(Struct, frozen=True):
    """Who asks, at which face, and how it speaks."""

    caller: Caller
    endpoint: str | None
    """The face: one server's name, or None for all."""
    era: Era
    version: str
    capabilities: bytes = b"{}"
    client_info: bytes = b""
    log_level: bytes = b""
    """Raw JSON string, of a legacy session; modern clients say it with each request."""
    door: str = "mcp"
    idempotency_key: str | None = None
    size_bytes: int = 0
    mcp_params: Mapping[str, str] | None = None
    """`Mcp-Param-*` headers as received; None over transports that have none."""


class Replies(Protocol):
    """Where the answer to one request goes."""

    def result(self, raw: bytes) -> None: ...
    def error(self, code: int, message: str, data: Mapping[str, Any] | bytes | None) -> None: ...
    def notify(self, method: str, params: bytes) -> None: ...


class McpDoor:
    """Answers requests. One for the hub; stateless but for what the hub knows."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        lists = {kind.method: self._list(kind) for kind in Kind}
        self._local: dict[str, Callable[[Message, Context, Replies], None]] = {
            **lists, "server/discover": self._discover,
        }  # fmt: skip
        self._legacy: dict[str, Callable[[Message, Context, Replies], None]] = {
            **lists, "ping": lambda _message, _context, replies: replies.result(b"{}"),
        }  # fmt: skip

    def request(self, message: Message, context: Context, replies: Replies) -> Passage | None:
        """Answer a request, now or later; what is returned can be cancelled.

        Transports handle what belongs to their own life: initialize, subscriptions, cancelled.
        """
        try:
            name_key = CALLS.get(message.method)
            if name_key is not None:
                return self._call(message, context, replies, name_key)
            table = self._local if context.era is Era.MODERN else self._legacy
            answer = table.get(message.method)
            if answer is None:
                replies.error(METHOD_NOT_FOUND, f"Method not found: {message.method[:64]}", None)
            else:
                answer(message, context, replies)
        except HubError as error:
            replies.error(error.code, str(error), error.data())
        return None

    # ------------------------------------------------------------ calls

    def _call(
        self, message: Message, context: Context, replies: Replies, name_key: str
    ) -> Passage | None:
        name = _text(message.params, name_key)
        params: Mapping[str, Raw] = message.params
        if name_key == "ref":
            name, params = self._completion_ref(message, context)
        endpoint, bare = self._locate(message.method, name, context)
        server = self.hub.catalog.find(endpoint, context.caller)
        if server is None:
            raise UnknownTarget(f"{_what(message.method)}: {name[:128]}")
        call = Call(
            self.hub.ids(), context.caller, context.door, endpoint, message.method, bare, params,
            _passed_on(message.meta, context), self._deadline(server, bare, message.meta),
            context.era, context.capabilities, context.client_info,
            _idempotency_key(message.meta, context), context.size_bytes,
        )  # fmt: skip
        if context.mcp_params is not None and message.method == "tools/call":
            self._check_param_headers(server, call, context.mcp_params)
        return self.hub.gateway.start(call, CallReceiver(call, server, replies))

    def _locate(self, method: str, name: str, context: Context) -> tuple[str, str]:
        """Which server, and what it calls the thing itself."""
        if context.endpoint is not None:
            return context.endpoint, name
        found = (
            target.split_uri(name)
            if method == "resources/read" or (method == COMPLETE and ":" in name)
            else target.split(name)
        )
        if found is None:
            raise UnknownTarget(f"{_what(method)}: {name[:128]}")
        return found

    def _completion_ref(self, message: Message, context: Context) -> tuple[str, dict[str, Raw]]:
        """The prompt or resource that is completed for, and params with its own name in them."""
        ref: dict[str, Any] = message.parsed.get("ref") or {}
        key = "uri" if ref.get("type") == "ref/resource" else "name"
        name = ref.get(key)
        if not isinstance(name, str):
            raise UnknownTarget(f"ref.{key}: expected a string")
        _, bare = self._locate(COMPLETE, name, context)
        own = msgspec.json.encode({**ref, key: bare})
        return name, {**message.params, "ref": Raw(own)}

    def _deadline(self, server: Server, tool: str, meta: Mapping[str, Raw]) -> int:
        """Monotonic: the shortest of the client's wish, the tool's, the server's, 300 s (R40)."""
        endpoint = server.endpoint
        span = min(endpoint.timeouts.call_ms, HARD_CAP_MS)
        policy = endpoint.tools.get(tool)
        if policy and policy.timeout_ms:
            span = min(policy.timeout_ms, HARD_CAP_MS)
        wish = meta.get(DEADLINE_META)
        if wish is not None:
            try:
                span = max(1, min(span, _integer.decode(wish)))
            except msgspec.DecodeError:
                raise UnknownTarget(f"_meta.{DEADLINE_META}: expected milliseconds") from None
        return self.hub.clock.now() + span * MILLISECOND

    @staticmethod
    def _check_param_headers(server: Server, call: Call, received: Mapping[str, str]) -> None:
        facts = server.facts(call.name)
        if facts is not None and (facts.headers or received):
            raw = call.params.get("arguments", Raw(b"{}"))
            mcp_check(facts.headers, msgspec.json.decode(raw), received)

    # ------------------------------------------------------------ what the hub answers itself

    def _list(self, kind: Kind) -> Callable[[Message, Context, Replies], None]:
        def answer(message: Message, context: Context, replies: Replies) -> None:
            if "cursor" in message.params:
                # All pages of all servers are one page here, so no cursor was ever handed out.
                replies.error(INVALID_PARAMS, "Invalid cursor: this list has one page", None)
                return
            pieces = [
                piece
                for server in self.faces(context)
                if (piece := server.shown(kind, prefixed=context.endpoint is None))
            ]
            raw = b'{"%b":[%b]' % (kind.key.encode(), b",".join(pieces))
            replies.result(raw + self._cacheable(context) + b"}")

        return answer

    def _discover(self, message: Message, context: Context, replies: Replies) -> None:
        del message
        capabilities = msgspec.json.encode(self.capabilities(context))
        instructions = self.instructions(context)
        raw = b'{"supportedVersions":%b,"capabilities":%b' % (
            msgspec.json.encode(SUPPORTED),
            capabilities,
        )
        if instructions:
            raw += b',"instructions":' + msgspec.json.encode(instructions)
        replies.result(raw + self._cacheable(context) + b"}")

    def _cacheable(self, context: Context) -> bytes:
        """The tail of a list result. Private: what is seen depends on the key (§1.6)."""
        if context.era is Era.LEGACY:
            return b""
        return (
            b',"resultType":"complete","ttlMs":%d,"cacheScope":"private",'
            b'"_meta":{"io.modelcontextprotocol/serverInfo":%b}' % (LIST_TTL_MS, SERVER_INFO)
        )

    def faces(self, context: Context) -> list[Server]:
        """The servers that this request is about."""
        if context.endpoint is None:
            return self.hub.catalog.servers(context.caller)
        server = self.hub.catalog.find(context.endpoint, context.caller)
        return [server] if server is not None else []

    def capabilities(self, context: Context) -> dict[str, Any]:
        """What the face can do: whatever any of its servers can, as far as the hub relays it."""
        merged: dict[str, Any] = {}
        for server in self.faces(context):
            known = server.listing.capabilities if server.listing else b"{}"
            declared: dict[str, Any] = msgspec.json.decode(known)
            for name in ("tools", "prompts", "resources"):
                if isinstance(declared.get(name), dict):
                    merged[name] = {"listChanged": True}
            for name in ("completions", "logging"):
                if isinstance(declared.get(name), dict):
                    merged[name] = {}
        if not merged:
            merged["tools"] = {"listChanged": True}
        if "resources" in merged:
            merged["resources"]["subscribe"] = True
        return merged

    def instructions(self, context: Context) -> str:
        """One server's own; for many, each under its name, bounded."""
        servers = [s for s in self.faces(context) if s.listing and s.listing.instructions]
        if context.endpoint is not None:
            return servers[0].listing.instructions if servers and servers[0].listing else ""
        return "\n\n".join(
            f"## {s.name}\n{s.listing.instructions[:2000]}" for s in servers[:20] if s.listing
        )


COMPLETE = "completion/complete"
CALLS = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri", COMPLETE: "ref"}


def _text(params: Mapping[str, Raw], key: str) -> str:
    if key == "ref":
        return ""
    raw = params.get(key)
    try:
        return _string.decode(raw if raw is not None else b"null")
    except msgspec.DecodeError:
        raise UnknownTarget(f"params.{key}: expected a string") from None


def _what(method: str) -> str:
    return {"tools/call": "Unknown tool", "prompts/get": "Unknown prompt"}.get(
        method, "Unknown resource"
    )


def _passed_on(meta: Mapping[str, Raw], context: Context) -> dict[str, Raw]:
    """The `_meta` that goes on to the server: without the protocol's own keys and the hub's."""
    passed = {
        key: value
        for key, value in meta.items()
        if key not in OWN_META and not key.startswith("io.agenthub/")
    }
    if context.log_level:
        passed[PROTOCOL + "logLevel"] = Raw(context.log_level)
    return passed


def _idempotency_key(meta: Mapping[str, Raw], context: Context) -> str | None:
    raw = meta.get(IDEMPOTENCY_META)
    if raw is None:
        return context.idempotency_key
    try:
        key = _string.decode(raw)
    except msgspec.DecodeError:
        key = ""
    if not 1 <= len(key) <= 256:
        raise UnknownTarget(f"_meta.{IDEMPOTENCY_META}: expected 1 to 256 characters")
    return key
