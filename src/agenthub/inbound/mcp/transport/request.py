"""What is read of an MCP request over HTTP before it is served: the rungs of the ladder (§3.1).

Each raises the error that the specification wants for it, in the order in which they are called.
Source: MCP specification 2026-07-28, "Streamable HTTP, Request Metadata"; attacks A14-A16.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from msgspec import Struct

from agenthub.domain.errors import HubError
from agenthub.inbound.exchange import Exchange, Headers, Request
from agenthub.inbound.mcp.said import Said, check_meta, said_in
from agenthub.inbound.mcp.terms import LEGACY_VERSIONS, MODERN, SUPPORTED, VERSION_KEY
from agenthub.inbound.mcp.transport.stream import STATUS
from agenthub.wire.jsonrpc import Message, error_message
from agenthub.wire.mcp_headers import HeaderMismatch, decode

VERSION, METHOD, NAME = b"mcp-protocol-version", b"mcp-method", b"mcp-name"
SESSION: Final = b"mcp-session-id"
ROUTING: Final = frozenset({VERSION, METHOD, NAME, SESSION})
"""Headers that two readers may not read in two ways."""
NAMED_BY: Final = {
    "tools/call": "name", "prompts/get": "name", "resources/read": "uri",
    "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
}  # fmt: skip
"""The parameter that `Mcp-Name` repeats."""
OLD: Final = frozenset(version.encode() for version in LEGACY_VERSIONS)
NEEDS_STREAM: Final = "Accept must name text/event-stream"
_MODERN: Final = MODERN.encode()
_JSON, _STREAM = b"application/json", b"text/event-stream"
_BOTH: Final = b"%b, %b" % (_JSON, _STREAM)


class UnsupportedVersion(HubError):
    """The hub does not speak this version of the protocol."""

    slug: ClassVar[str] = "unsupported_version"
    code: ClassVar[int] = -32022
    status: ClassVar[int] = 400

    def __init__(self, requested: str) -> None:
        super().__init__()
        self._requested = requested

    def data(self) -> dict[str, object]:
        return {"supported": list(SUPPORTED), "requested": self._requested}


class Heading(Struct, frozen=True):
    """What a request's headers say to the door: worked out once for each head."""

    fields: Mapping[bytes, bytes]
    twice: str
    """A header that decides, and came more than once; else empty."""
    version: bytes | None
    method: str | None
    """`Mcp-Method`, if it is ASCII."""
    name: str | None
    """`Mcp-Name`, if it is ASCII and not encoded."""
    streams: bool
    """Whether the client takes event streams."""
    idempotency_key: str | None


def heading_of(request: Request) -> Heading:
    heading = request.notes.of_door
    if type(heading) is not Heading:
        heading = request.notes.of_door = _read_heading(request.headers)
    return heading


def _read_heading(headers: Headers) -> Heading:
    fields = dict(headers)
    key = fields.get(b"idempotency-key")
    return Heading(
        fields,
        (len(fields) != len(headers) and twice(headers)) or "",
        fields.get(VERSION),
        _plain(fields.get(METHOD)),
        _plain(fields.get(NAME)),
        takes_streams(fields.get(b"accept")),
        None if key is None else key.decode("latin-1"),
    )


def _plain(value: bytes | None) -> str | None:
    if value is None or not value.isascii() or value.startswith(b"=?"):
        return None
    return value.decode("ascii")


# ---------------------------------------------------------------- the ladder's rungs


def check(message: Message, heading: Heading) -> Said:
    """That a request of the new era is one: all rungs, by one look where they were passed before.

    Raises InvalidParams, HeaderMismatch or UnsupportedVersion.
    """
    said = said_in(message)
    if not (said.version == MODERN and heading.version == _MODERN and _agrees(heading, message)):
        check_meta(message)
        check_headers(message, heading.fields)
        check_version(message)
    return said


def _agrees(heading: Heading, message: Message) -> bool:
    """As `check_headers` about method and name, for headers that are plain."""
    method = message.method
    if heading.method != method:
        return False
    named_by = NAMED_BY.get(method)
    return named_by is None or heading.name == message.parsed.get(named_by)


def check_version(message: Message) -> None:
    """Raises UnsupportedVersion."""
    version = message.parsed["_meta"][VERSION_KEY]
    if version != MODERN:
        raise UnsupportedVersion(version[:64])


def check_headers(message: Message, headers: Mapping[bytes, bytes]) -> None:
    """That the headers say what the body says. Raises HeaderMismatch."""
    if headers[VERSION] != message.parsed["_meta"][VERSION_KEY].encode():
        raise HeaderMismatch("MCP-Protocol-Version is not the version in `_meta`")
    method = headers.get(METHOD)
    if method != message.method.encode():
        wrong = "is missing" if method is None else "is not the body's `method`"
        raise HeaderMismatch(f"Mcp-Method {wrong}")
    named_by = NAMED_BY.get(message.method)
    if named_by is None:
        return
    name = message.parsed.get(named_by)
    if isinstance(name, str):
        _check_name(headers.get(NAME), name, named_by)


def _check_name(header: bytes | None, name: str, named_by: str) -> None:
    if header is None:
        raise HeaderMismatch("Mcp-Name is missing")
    if header.startswith(b"=?") or not header.isascii():
        if not header.isascii() or decode(header.decode("ascii")) != name:
            raise HeaderMismatch(f"Mcp-Name is not the body's `{named_by}`")
    elif header != name.encode():
        raise HeaderMismatch(f"Mcp-Name is not the body's `{named_by}`")


# ---------------------------------------------------------------- headers


def twice(headers: Headers) -> str | None:
    """A header that decides, and came more than once."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in ROUTING and name in seen:
            return name.decode("latin-1")
        seen.add(name)
    return None


def takes_streams(accept: bytes | None) -> bool:
    if accept is None or accept == _BOTH:
        return True
    return any(kind in accept.lower() for kind in (b"text/event-stream", b"*/*", b"text/*"))


def prefers_streams(accept: bytes | None) -> bool:
    """Whether the client names event streams, and before JSON; one that weighs by `q` does not."""
    if accept is None or accept == _BOTH or b"q=" in accept:
        return False
    named = [kind.partition(b";")[0].strip() for kind in accept.lower().split(b",")]
    if _STREAM not in named:
        return False
    return _JSON not in named or named.index(_STREAM) < named.index(_JSON)


def shown(version: bytes) -> str:
    return version[:64].decode("latin-1")


def refuse(exchange: Exchange, error: HubError, message_id: bytes | None = None) -> None:
    body = error_message(message_id, error.code, str(error), error.data())
    exchange.answer(STATUS.get(error.code, 200), body)
