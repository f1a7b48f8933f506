"""A request as its bytes: a head that is the same for all of a server, then what is this call's.

Nothing that a caller or a server chose can end a header's line: values that are not plain visible
ASCII travel in base64, names that are no token do not travel, and what the operator wrote was
checked before.
Source: MCP specification 2026-07-28, "Streamable HTTP, Request Metadata"; RFC 9110 §5.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from agenthub import __version__
from agenthub.domain.call import TASK_METHODS, Era
from agenthub.domain.endpoint_check import check_header_value
from agenthub.domain.span import Nanoseconds
from agenthub.outbound.mcp_message import (
    MODERN,
    left_ms,
    meta_of,
    plain_meta,
    put_name,
)
from agenthub.ports import Outgoing
from agenthub.wire.mcp_headers import encode

NAMED = frozenset({"tools/call", "prompts/get", "resources/read", *TASK_METHODS})
"""Methods whose target is repeated in `Mcp-Name`."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,4096}")
_encode = msgspec.json.Encoder().encode
_MODERN = Era.MODERN


class Origin(Struct, frozen=True):
    """Where a server is, taken apart."""

    host: str
    port: int
    tls: bool
    target: str
    """Path and query, as the request line has it."""

    @property
    def authority(self) -> str:
        """As in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Of an address that `check_url` let pass."""
    parts = urlsplit(url)
    tls = parts.scheme.lower() == "https"
    # What is already escaped stays as it is; anything else that is no URL character is escaped.
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    return Origin(host, parts.port or (443 if tls else 80), tls, target)


def is_session_id(text: str) -> bool:
    return bool(_SESSION_ID.fullmatch(text))


class RequestHead:
    """What every request to one server begins with, and the requests that follow from it."""

    def __init__(self, origin: Origin, headers: Mapping[str, str]) -> None:
        """Raises BadSetting for a configured header that cannot be sent."""
        own = ""
        for name, value in headers.items():
            check_header_value(f"headers.{name}", value)
            own += f"{name}: {value.strip()}\r\n"
        self._target = origin.target
        self._always = self._common = (
            f"Host: {origin.authority}\r\n"
            f"User-Agent: agenthub/{__version__}\r\n"
            "Accept-Encoding: identity\r\n"
            f"{own}"
        )
        self._era: Era | None = None
        self._spoken = ""
        self.session = ""
        """An old server's, while there is one."""
        self.authorization = ""
        """The hub's own token for it, as it stands in the head."""
        self._bare = self._post = self._post_head()

    def authorize(self, value: str) -> None:
        """From now on this stands in `Authorization`; empty: nothing does."""
        self.authorization = value
        self._common = self._always + (f"Authorization: {value}\r\n" if value else "")
        spoken, self._spoken = self._spoken, ""
        self._bare = self._post_head()
        self._spoken = spoken
        self._post = self._post_head()

    def settle(self, era: Era, version: str, session: str = "") -> None:
        """The way to speak is known."""
        self._era, self.session = era, session
        self._spoken = f"MCP-Protocol-Version: {version}\r\n"
        if session:
            self._spoken += f"Mcp-Session-Id: {session}\r\n"
        self._post = self._post_head()

    def _post_head(self) -> bytes:
        return (
            f"POST {self._target} HTTP/1.1\r\n"
            f"{self._common}"
            "Content-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\n"
            f"{self._spoken}"
        ).encode("latin-1")

    def get(self, last_event_id: bytes = b"") -> bytes:
        """An old server's stream of its own messages."""
        data = (
            f"GET {self._target} HTTP/1.1\r\n{self._common}Accept: text/event-stream\r\n"
            f"{self._spoken}"
        ).encode("latin-1")
        if last_event_id and _PLAIN.fullmatch(last_event_id.decode("latin-1")):
            data += b"Last-Event-ID: %b\r\n" % last_event_id
        return data + b"\r\n"

    def delete(self) -> bytes:
        """The end of an old server's session."""
        head = f"DELETE {self._target} HTTP/1.1\r\n{self._common}{self._spoken}\r\n"
        return head.encode("latin-1")

    def probe(self, method: str, body: bytes) -> bytes:
        """A modern request to a server whose era is not known."""
        named = b"MCP-Protocol-Version: %b\r\n%b" % (MODERN.encode(), _named(method, ""))
        return _whole(self._bare, named, body)

    def first(self, body: bytes) -> bytes:
        """`initialize`: no version and no session is agreed yet."""
        return _whole(self._bare, b"", body)

    def own(self, body: bytes, method: str = "") -> bytes:
        """A message of the hub's own; `method` for a modern server's headers."""
        return _whole(self._post, _named(method, "") if method else b"", body)

    def call(self, message_id: int, outgoing: Outgoing, now: Nanoseconds) -> bytes:
        """One attempt, with the hub's own id and progress token."""
        era, method = self._era, outgoing.method
        assert era is not None, "the era is known before anything is sent"
        params: dict[str, object] = dict(outgoing.params)
        if outgoing.name:
            put_name(params, outgoing)
        opening, named = _opening(method), b""
        if era is _MODERN:
            named = _named(method, outgoing.name)
            if outgoing.headers:
                named += _extra(outgoing.headers)
        plain = plain_meta(outgoing) if era is _MODERN and params else None
        if plain is not None:
            body = b'{"jsonrpc":"2.0","id":%d%b%b%b%d}}}' % (
                message_id, opening, _encode(params)[:-1], plain, left_ms(outgoing, now),
            )  # fmt: skip
        else:
            if meta := meta_of(message_id, outgoing, era, now):
                params["_meta"] = meta
            body = b'{"jsonrpc":"2.0","id":%d%b%b}' % (message_id, opening, _encode(params))
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (self._post, named, len(body), body)


def _whole(head: bytes, named: bytes, body: bytes) -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, named, len(body), body)


@lru_cache(64)
def _opening(method: str) -> bytes:
    """What stands between a request's id and its params."""
    return b',"method":%b,"params":' % _encode(method)


@lru_cache(1024)
def _named(method: str, name: str) -> bytes:
    lines = f"Mcp-Method: {encode(method)}\r\n"
    if method in NAMED:
        lines += f"Mcp-Name: {encode(name)}\r\n"
    return lines.encode("ascii")


def _extra(headers: Mapping[str, str]) -> bytes:
    lines = ""
    for name, value in headers.items():
        if _TOKEN.fullmatch(name):
            lines += f"{name}: {value if _PLAIN.fullmatch(value) else encode(value)}\r\n"
    return lines.encode("ascii")
