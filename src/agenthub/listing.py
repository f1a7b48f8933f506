"""What a server offers: its tools, prompts and resources, as it last said, and how they are shown.

The items are kept as raw JSON, byte for byte; only what the hub must know of them is read. What
is shown is rendered once per change, so that a list costs a join of ready pieces.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct, field

from agenthub.domain import alias, target
from agenthub.domain.caching import Caching
from agenthub.domain.outcome import NOTHING
from agenthub.domain.pinning import Pin, heard
from agenthub.wire import definition, jsonrpc, mcp_headers, schema, strict_json, suspicion

ITEMS_MAX = 10_000
"""Of one kind, from one server; what is beyond is dropped and said."""
ITEM_BYTES_MAX = 2 * 1024 * 1024
OUR_META = "io.agenthub/"
OLD_APP_LINK = "ui/resourceUri"
"""In `_meta` of a tool: how MCP Apps were written before `ui` had members."""


class Kind(Enum):
    """The four lists of MCP: method, key in the result, capability, what names an item."""

    TOOLS = ("tools/list", "tools", "tools", "name")
    PROMPTS = ("prompts/list", "prompts", "prompts", "name")
    RESOURCES = ("resources/list", "resources", "resources", "uri")
    TEMPLATES = ("resources/templates/list", "resourceTemplates", "resources", "uriTemplate")

    def __init__(self, method: str, key: str, capability: str, named_by: str) -> None:
        self.method = method
        self.key = key
        self.capability = capability
        self.named_by = named_by


class Listing(Struct, frozen=True):
    """The last-known-good lists of one server, as they are kept on disk."""

    tools: list[Raw] = field(default_factory=list[Raw])
    prompts: list[Raw] = field(default_factory=list[Raw])
    resources: list[Raw] = field(default_factory=list[Raw])
    templates: list[Raw] = field(default_factory=list[Raw])
    capabilities: Raw = Raw(b"{}")
    server_info: Raw = Raw(b"null")
    instructions: str = ""
    listed_at_s: int = 0
    """Wall time."""
    excluded: dict[str, str] = field(default_factory=dict[str, str])
    """Items that are not shown, and why."""
    caching: dict[str, Caching] = field(default_factory=dict[str, Caching])
    """By `Kind.key`, of each list that was answered."""
    announced: tuple[str, ...] = ()
    """Capabilities whose `list_changed` the server sends."""

    def said(self) -> dict[Kind, Caching]:
        """How long each list that the server has may be kept."""
        return {kind: self.caching[kind.key] for kind in Kind if kind.key in self.caching}

    def tells(self, kind: Kind) -> bool:
        """Whether the server says when this list changes."""
        return kind.capability in self.announced

    @property
    def size_bytes(self) -> int:
        """Of all lists."""
        return sum(len(bytes(item)) for kind in Kind for item in self.items(kind))

    def items(self, kind: Kind) -> list[Raw]:
        return {
            Kind.TOOLS: self.tools,
            Kind.PROMPTS: self.prompts,
            Kind.RESOURCES: self.resources,
            Kind.TEMPLATES: self.templates,
        }[kind]


class _Named(Struct):
    name: str = ""
    uri: str = ""
    uriTemplate: str = ""  # noqa: N815 - the protocol's own name


_named = msgspec.json.Decoder(_Named)
_object = msgspec.json.Decoder(dict[str, Any])
_raw_object = msgspec.json.Decoder(dict[str, Raw])


def name_of(kind: Kind, item: Raw) -> str:
    """What names an item; raises ValueError (msgspec's) if the server sent no object or no name."""
    name: str = getattr(_named.decode(item), kind.named_by)
    if not name:
        raise ValueError(f"an item of {kind.method} has no {kind.named_by}")
    return name


def sorted_items(kind: Kind, items: Iterable[Raw]) -> tuple[list[Raw], dict[str, str]]:
    """The items that can be shown, in a stable order by name, and why others cannot."""
    kept: dict[str, Raw] = {}
    excluded: dict[str, str] = {}
    for number, raw in enumerate(items):
        try:
            if len(bytes(raw)) > ITEM_BYTES_MAX:
                raise ValueError(f"larger than {ITEM_BYTES_MAX} bytes")  # noqa: TRY301
            name = name_of(kind, raw)
            whole = strict_json.parse(bytes(raw))
            if kind is Kind.TOOLS:
                _check_tool(name, whole)
            item = _without_ours(raw, whole)
        except (ValueError, RecursionError, strict_json.BadJson) as error:
            excluded[f"{kind.key} #{number + 1}"] = str(error)[:200]
            continue
        if name in kept:
            excluded[f"{name} (again)"] = "the server lists it twice; the first counts"
        elif len(kept) >= ITEMS_MAX:
            excluded[name] = f"more than {ITEMS_MAX} {kind.key}"
        else:
            kept[name] = item
    return [kept[name] for name in sorted(kept)], excluded


def _without_ours(item: Raw, whole: Mapping[str, Any]) -> Raw:
    """The item without what a server says in the hub's name (A34)."""
    if not any(key.startswith(OUR_META) for key in _mapping(whole.get("_meta"))):
        return item
    members = _raw_object.decode(item)
    kept = {key: value for key, value in _meta_of(members).items() if not key.startswith(OUR_META)}
    return Raw(jsonrpc.with_members(bytes(item), {"_meta": msgspec.json.encode(kept)}))


def _meta_of(members: Mapping[str, Raw]) -> dict[str, Raw]:
    """An item's `_meta`; empty if it is none."""
    try:
        return _raw_object.decode(members.get("_meta", b"{}"))
    except ValueError:
        return {}


def _check_tool(name: str, tool: Mapping[str, Any]) -> None:
    """Raise ValueError for a tool that no client should be offered (A18, A32)."""
    if not target.is_tool_name(name):
        raise ValueError("the name is not 1 to 128 of A-Z a-z 0-9 _ . -")
    definition.check_members(tool)
    found = tool.get("inputSchema")
    if not isinstance(found, dict):
        raise ValueError(f"{name}: inputSchema is not an object")  # noqa: TRY004 - bad data
    input_schema = cast("dict[str, Any]", found)
    schema.inspect(input_schema)
    if isinstance(tool.get("outputSchema"), dict):
        # Clients hold results against it; what it refers to is fetched by none of them either.
        schema.inspect(tool["outputSchema"], "outputSchema")
    mcp_headers.param_headers(input_schema)


# ---------------------------------------------------------------- tools, as far as calls need them


class ToolFacts:
    """What a call needs to know of a tool. The schema is compiled with the first call."""

    __slots__ = ("_schema", "_validator", "headers", "heard", "shape")

    def __init__(self, item: Raw, pin: Pin | None) -> None:
        tool = _object.decode(item)
        self.heard: Mapping[str, Any] = _heard(tool, pin)
        """The annotations that count: those of the approved definition (R30)."""
        self._schema: dict[str, Any] = tool["inputSchema"]
        self.headers: Mapping[str, Any] = mcp_headers.param_headers(self._schema)
        self.shape = definition.digest_of([self._schema, tool.get("outputSchema")])
        """Of input and output schema: a fallback's tool must have the same (R39)."""
        self._validator: schema.Validator | None = None

    def problem_with(self, arguments: object) -> str | None:
        """Why these arguments do not fit the schema; None if they do."""
        if self._validator is None:
            self._validator = schema.compile_schema(self._schema)
        problem = self._validator.check(arguments)
        if problem and isinstance(arguments, dict):
            # Many clients write null for what they leave out, and many servers take it so.
            members = cast("dict[str, object]", arguments)  # As all that is read from JSON.
            given = {key: value for key, value in members.items() if value is not None}
            if len(given) < len(members):
                return self._validator.check(given)
        return problem


def _heard(tool: Mapping[str, Any], pin: Pin | None) -> Mapping[str, Any]:
    if pin is None:
        return {}
    now = definition.annotations(tool)
    if pin.digest == definition.digest(tool):
        return now
    return heard(definition.annotations(pin.definition), now) if pin.definition else {}


def pin_of(item: Raw) -> Pin:
    """The tool's definition, as it is now."""
    tool = _object.decode(item)
    return Pin(definition.digest(tool), definition.canonical(tool))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


# ---------------------------------------------------------------- showing


class Guise(Struct, frozen=True):
    """How a server's items are shown, all alike."""

    prefix: str
    """The endpoint's name where names of many servers meet, else empty."""
    unavailable: str
    """Why calls would fail now, told in each item's `_meta`; else empty."""
    style: str = alias.SAFE
    """How long a tool's name may be where there is a prefix."""


def render(items: Iterable[Raw], kind: Kind, guise: Guise) -> list[tuple[str, bytes]]:
    """Each item's own name, and the item as clients get it."""
    return [(name_of(kind, item), _render_item(kind, item, guise)) for item in items]


def _render_item(kind: Kind, item: Raw, guise: Guise) -> bytes:
    shown = suspicion.visible_item(bytes(item))
    changed: dict[str, bytes] = {}
    if guise.prefix:
        full = full_name(kind, guise.prefix, name_of(kind, item))
        name = alias.alias(full, guise.style) if kind is Kind.TOOLS else full
        changed[kind.named_by] = msgspec.json.encode(name)
    has_app = guise.prefix and kind is Kind.TOOLS and b'resourceUri"' in shown
    meta = _meta_of(_raw_object.decode(shown)) if has_app or guise.unavailable else {}
    if has_app and _lead_to_app(meta, guise.prefix):
        changed["_meta"] = msgspec.json.encode(meta)
    if guise.unavailable:
        meta[OUR_META + "unavailable"] = Raw(msgspec.json.encode(guise.unavailable))
        changed["_meta"] = msgspec.json.encode(meta)
    return jsonrpc.with_members(shown, changed) if changed else shown


def _lead_to_app(meta: dict[str, Raw], endpoint: str) -> bool:
    """Make a tool's link to its user interface (MCP Apps) one that can be read among all servers'.

    Returns whether there is one. All else in the `_meta` stays as it was written.
    """
    link = _link(meta.get(OLD_APP_LINK, NOTHING))
    if link is not None:
        meta[OLD_APP_LINK] = Raw(msgspec.json.encode(target.join_uri(endpoint, link)))
    app = bytes(meta.get("ui", NOTHING))
    of_app = _link(_raw_object.decode(app).get("resourceUri", NOTHING)) if app[:1] == b"{" else None
    if of_app is not None:
        uri = msgspec.json.encode(target.join_uri(endpoint, of_app))
        meta["ui"] = Raw(jsonrpc.with_members(app, {"resourceUri": uri}))
    return link is not None or of_app is not None


def _link(raw: Raw) -> str | None:
    return msgspec.json.decode(raw, type=str) if bytes(raw)[:1] == b'"' else None


def renamed(shown: bytes, name: str, description: str | None) -> bytes:
    """A tool or prompt under another name; with another description, if there is one."""
    changed = {"name": msgspec.json.encode(name)}
    if description is not None:
        changed["description"] = msgspec.json.encode(description)
    return jsonrpc.with_members(shown, changed)


def full_name(kind: Kind, endpoint: str, name: str) -> str:
    """What an item is called among those of all servers."""
    named = kind in {Kind.TOOLS, Kind.PROMPTS}
    return target.join(endpoint, name) if named else target.join_uri(endpoint, name)
