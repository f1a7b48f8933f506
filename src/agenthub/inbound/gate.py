"""The one gate before every door: whose request this is, and whether it may come in at all.

framing ─► host ─► origin ─► key ─► address ─► scope ─► the body's kind ─► Caller
  400       421      403     401      404       403         415, 413

Both transports ask it with the raw target and the raw headers, never with a URL that something has
put together (CVE-2026-48710). What no line of `NEEDS` lets in is refused, whether it exists or not.
Source: UI decisions §5 (browsers), attacks A01-A12, A47, A50.
"""

import ipaddress
import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from agenthub.admission import NotYet
from agenthub.domain.caller import Caller, Scope
from agenthub.inbound import rejection as no
from agenthub.inbound.challenge import Challenge
from agenthub.inbound.exchange import Headers
from agenthub.inbound.rejection import Rejection
from agenthub.keys import KeyRing
from agenthub.settings import Settings


class Need(Enum):
    """What an address asks of its caller."""

    NOTHING = "nothing"
    """A probe; who shows a good key hears more."""
    KEY = "key"
    """Any key: the routes behind it check the scope themselves."""
    TOOLS = "tools"
    LLM = "llm"
    INGEST = "ingest"
    """Telemetry: its body may be protobuf, and packed."""
    READ = "read"
    NOBODY = "nobody"
    """There is no such address; said only to those with a key."""


NEEDS: Final[Mapping[str, Need]] = {
    "/.well-known/": Need.NOTHING,
    "/client-metadata.json": Need.NOTHING,
    "/healthz": Need.NOTHING,
    "/readyz": Need.NOTHING,
    "/metrics": Need.READ,
    "/oauth/callback": Need.NOTHING,
    "/oauth/sign-in": Need.NOTHING,
    "/openapi.json": Need.READ,
    "/mcp": Need.TOOLS,
    "/mcp/": Need.TOOLS,
    "/messages": Need.TOOLS,
    "/sse": Need.TOOLS,
    "/sse/": Need.TOOLS,
    "/v1/": Need.LLM,
    "/v1/logs": Need.INGEST,
    "/v1/metrics": Need.INGEST,
    "/v1/traces": Need.INGEST,
    "/v1beta/": Need.LLM,
    "/api/": Need.KEY,
}
"""Every address of the hub. One that ends in `/` stands for what is below it, not for itself."""

ANONYMOUS: Final = Caller("anonymous", frozenset({Scope.TOOLS, Scope.READ}))
NOBODY: Final = Caller("nobody", frozenset())
_SCOPES: Final = {
    Need.TOOLS: Scope.TOOLS, Need.LLM: Scope.LLM, Need.INGEST: Scope.INGEST, Need.READ: Scope.READ,
}  # fmt: skip

_CANONICAL = re.compile(
    rb"(?:/\.well-known)?(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+(?::[A-Za-z0-9]{1,32})?|/"
)
"""A path that has no second spelling: no `%`, `;`, `\\`, empty segment, nor dot at its start (but
of the well-known one). `:` stands before a verb, where Gemini's addresses have one, and
before the digest in the id of a call that another program reported."""
_MODEL = re.compile(rb"/v1/models/[A-Za-z0-9](?:[A-Za-z0-9._~@:-]|%2F|%3A|%40)*")
"""So SDKs ask about one model. Only here may a `/` come packed: names of models have some."""
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?")
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_TOKEN = re.compile(rb"(?i:Bearer) +([\x21-\x7e]+)")
_JSON = re.compile(rb"(?i:application/json)[ \t]*(?:;.*)?")
_TELEMETRY = re.compile(rb"(?i:application/(?:json|x-protobuf))[ \t]*(?:;.*)?")
_ADDRESSES_KEPT = 1_024

_AUTHORIZATION, _EXTENSION = b"authorization", b"x-extension-token"
_SDK_KEYS = (b"x-api-key", b"x-goog-api-key")
_GUARDED = frozenset({
    b"host", _AUTHORIZATION, _EXTENSION, *_SDK_KEYS, b"origin", b"content-type", b"content-length",
    b"content-encoding", b"transfer-encoding", b"expect", b"sec-fetch-site", b"sec-fetch-mode",
    b"sec-fetch-dest", b"access-control-request-method",
})  # fmt: skip
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})

Fields = dict[bytes, bytes]
"""The headers that the gate and the framing look at; each stood once."""


class Address(Struct, frozen=True):
    """A request's target, read once."""

    path: str
    query: bytes
    need: Need
    authority: bytes = b""
    """Of a target in absolute form."""


class Admitted(Struct, frozen=True):
    caller: Caller
    address: Address
    fields: Fields
    peer: str
    token: bytes | None
    """The key that was shown; None if none was."""


class Gate:
    """Made when the port is known, for it is part of the host's name."""

    def __init__(self, settings: Settings, keys: KeyRing, port: int) -> None:
        self._keys = keys
        self._anonymous = settings.auth.anonymous_loopback
        self._body_max = settings.limits.body_bytes
        names = {b"127.0.0.1", b"localhost", b"[::1]"} | _own_name(settings.server.host)
        allowed = {host.lower().encode() for host in settings.server.allowed_hosts}
        self._hosts = allowed | {name + b":%d" % port for name in names}
        if port == 80:
            self._hosts |= names
        self._any_port = {host for host in allowed if _HOST.fullmatch(host) and _bare(host) == host}
        self._origins = {origin.encode() for origin in settings.server.allowed_origins}
        self._addresses: dict[bytes, Address] = {}
        self._challenge = Challenge(settings)

    def check(  # noqa: PLR0911 - one for each rule
        self, method: str, target: bytes, headers: Headers, peer: str
    ) -> Admitted | Rejection:
        """Whether this request may go on, judged by its head alone. Pure but for the keys.

        `headers` have lower-case names and stripped values. `peer` is the address of the socket's
        other end, never of a header.
        """
        address = self._addresses.get(target) or self._read(target)
        if isinstance(address, Rejection):
            return address
        fields: Fields = {}
        for name, value in headers:
            if name in _GUARDED:
                if name in fields:
                    return _twice(name)
                fields[name] = value
        refusal = (
            _wrong_framing(fields)
            or self._wrong_host(address, fields)
            or self._wrong_origin(method, address, fields)
        )
        if refusal is not None:
            return refusal
        token = _token(fields, address.need)
        try:
            caller = self._caller(address, token, headers, peer)
        except NotYet:
            return no.NOT_YET
        if caller is None:
            scope = _SCOPES.get(address.need, Scope.READ)
            return self._challenge.unauthorized(address.path, scope, shown=token is not None)
        if address.need is Need.NOBODY:
            return no.NOT_FOUND
        scope = _SCOPES.get(address.need)
        if scope is not None and not caller.may(scope):
            return self._challenge.forbidden(address.path, scope)
        return self._wrong_body(address, fields) or Admitted(caller, address, fields, peer, token)

    def readmits(self, admitted: Admitted, peer: str) -> bool:
        """Whether `check` would say the same of the same head from this peer, now.

        All else that it looks at is in the head, or in settings that stay. A key that ended and
        one that was found anew, for it may have changed, have another caller than this one.
        """
        if admitted.token is None:
            return admitted.peer == peer
        try:
            return self._keys.authenticate(admitted.token) is admitted.caller
        except NotYet:
            return False

    def holds(self, caller: Caller) -> bool:
        """Whether who came in would still come in."""
        return self._keys.holds(caller)

    # ------------------------------------------------------------ the address

    def _read(self, target: bytes) -> Address | Rejection:
        authority = b""
        if not target.startswith(b"/"):
            absolute = _ABSOLUTE.fullmatch(target)
            if absolute is None:
                return no.TARGET
            authority = absolute[1].lower()
            path, query = absolute[2] or b"/", (absolute[3] or b"?")[1:]
        elif b"#" in target:
            return no.TARGET
        else:
            path, _, query = target.partition(b"?")
        address = Address(path.decode("latin-1"), query, _need(path), authority)
        if address.path == target.decode("latin-1") and address.need is not Need.NOBODY:
            if len(self._addresses) >= _ADDRESSES_KEPT:
                self._addresses.clear()
            self._addresses[target] = address
        return address

    # ------------------------------------------------------------ the browser's rules

    def _wrong_host(self, address: Address, fields: Fields) -> Rejection | None:
        host = fields.get(b"host", b"")
        if host not in self._hosts:
            host = host.lower()
            if host not in self._hosts and _bare(host) not in self._any_port:
                return no.MISDIRECTED
        if address.authority and address.authority != host.lower():
            return no.MISDIRECTED
        return None

    def _wrong_origin(self, method: str, address: Address, fields: Fields) -> Rejection | None:
        """Pages of other sites and preflights stay out; programs send none of these headers."""
        if b"access-control-request-method" in fields:
            return no.CROSS_SITE
        origin, site = fields.get(b"origin"), fields.get(b"sec-fetch-site")
        if origin is not None:
            if origin in self._origins:
                return None
            host = fields[b"host"].lower()
            if origin not in {b"http://" + host, b"https://" + host}:
                return no.CROSS_SITE
        if site is None or site == b"same-origin":
            return None
        # What a person types or follows a link to; `/api` is for the hub's own pages alone, or
        # any extension could reach it.
        is_opened = site == b"none" or (
            method == "GET"
            and fields.get(b"sec-fetch-mode") == b"navigate"
            and fields.get(b"sec-fetch-dest") == b"document"
        )
        return None if is_opened and not address.path.startswith("/api/") else no.CROSS_SITE

    # ------------------------------------------------------------ the body's kind

    def _wrong_body(self, address: Address, fields: Fields) -> Rejection | None:
        """Only plain JSON comes in: no form can be posted from a page, no bomb be unpacked.

        Telemetry may be protobuf, which no form is, and packed; its door bounds what comes out.
        """
        if b"transfer-encoding" not in fields:
            length = int(fields.get(b"content-length", b"0"))
            if length > self._body_max:
                return no.TOO_LARGE
            if length == 0:
                return None
        coding, kind = (
            fields.get(b"content-encoding", b"identity"),
            fields.get(b"content-type", b""),
        )
        if address.need is Need.INGEST:
            is_known = coding.lower() in {b"identity", b"gzip"}
            return None if is_known and _TELEMETRY.fullmatch(kind) else no.NO_TELEMETRY
        if coding.lower() != b"identity":
            return no.ENCODED
        return None if _JSON.fullmatch(kind) else no.NOT_JSON

    # ------------------------------------------------------------ the key

    def _caller(
        self, address: Address, token: bytes | None, headers: Headers, peer: str
    ) -> Caller | None:
        caller = None
        if token is not None:
            caller = self._keys.authenticate(token)
        elif self._anonymous and _is_loopback(peer) and not _is_forwarded(headers):
            caller = ANONYMOUS
        if caller is None and address.need is Need.NOTHING:
            return NOBODY
        return caller


def _need(path: bytes) -> Need:
    if not _CANONICAL.fullmatch(path):
        return Need.LLM if _MODEL.fullmatch(path) else Need.NOBODY
    text = path.decode()
    if text.endswith("/"):
        return Need.NOBODY
    exact = NEEDS.get(text)
    if exact is not None:
        return exact
    below = text[: text.index("/", 1) + 1] if "/" in text[1:] else ""
    return NEEDS.get(below, Need.NOBODY)


def _wrong_framing(fields: Fields) -> Rejection | None:
    """Whatever two readers could take for two different lengths (A10)."""
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        return no.CODING
    if length is not None and not (length.isdigit() and len(length) <= 15):
        return no.MALFORMED
    return None


def _token(fields: Fields, need: Need) -> bytes | None:
    """The key that is shown, if any; empty, which no key is, for what cannot be one."""
    bearer, extension = fields.get(_AUTHORIZATION), fields.get(_EXTENSION)
    if need is Need.LLM:
        # SDKs show their key as their provider wants it.
        shown = [fields[name] for name in _SDK_KEYS if name in fields]
        extension = shown[0] if len(shown) == 1 else b"" if shown else extension
    if bearer is None:
        return extension
    # A wrong key is not taken for no key, and of two keys none is chosen.
    match = _TOKEN.fullmatch(bearer)
    return match[1] if match is not None and extension is None else b""


def _twice(name: bytes) -> Rejection:
    return no.UNAUTHORIZED if name in {_AUTHORIZATION, _EXTENSION, *_SDK_KEYS} else no.TWICE


def _bare(host: bytes) -> bytes:
    """The host without its port; empty if it is no host."""
    match = _HOST.fullmatch(host)
    return b"" if match is None else match[1]


def _own_name(host: str) -> set[bytes]:
    """The address that the hub is bound to, as a browser writes it; not one that means all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return set()
    if address.is_unspecified:
        return set()
    return {(f"[{address}]" if address.version == 6 else str(address)).encode()}


def _is_forwarded(headers: Headers) -> bool:
    """What a front proxy on this machine passes on is not from this machine."""
    return any(name in _FORWARDED for name, _ in headers)


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
