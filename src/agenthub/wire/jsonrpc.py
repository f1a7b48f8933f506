"""JSON-RPC messages as MCP uses them: read strictly, written from raw parts.

A message is read once for what it says (`parsed`, to check arguments against a schema) and once
for how it says it (`params`, `meta`: raw JSON), so that what is passed on is what came, byte for
byte: no number is rounded, no unknown member lost.

Source: JSON-RPC 2.0; MCP specification 2026-07-28, "Base, Messages"; rule A15.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Raw, Struct, field

from agenthub.domain.errors import HubError
from agenthub.wire import strict_json
from agenthub.wire.notes import Notes
from agenthub.wire.strict_json import DEPTH_MAX, BadJson

ID_CHARACTERS_MAX = 256
ID_INTEGER_MAX = 2**53 - 1
"""What every JSON reader can hold. Source: RFC 8259 §6."""
METAS_MAX = 256
"""Texts of `_meta` kept; when there are more, all are forgotten and read again."""
META_BYTES_MAX = 1_024
"""Of one that is kept. Most clients say the same, about themselves, with each request."""
PLAIN_ID_DIGITS = 15
"""An integer that is no longer fits in 53 bits."""
MEMBERS = 4
"""Of a request: `jsonrpc`, `id`, `method`, `params`."""
NOTHING = Raw()


class Kind(Enum):
    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Message(Struct, frozen=True, gc=False):
    """One message of a client."""

    kind: Kind
    method: str = ""
    """Empty for a response."""
    id: bytes = b""
    """The id's JSON text as it came: answers carry the same. Empty for a notification."""
    params: Mapping[str, Raw] = {}
    """The members of `params`, raw, without `_meta`."""
    meta: Mapping[str, Raw] = {}
    """The members of `params._meta`, raw."""
    notes: Notes = field(default_factory=Notes)
    """Of `_meta`: messages that say the same there may share them."""
    parsed: Mapping[str, Any] = {}
    """All of `params` as values, `_meta` too."""
    result: Raw = NOTHING
    """Of a response; one of `result` and `error` is there."""
    error: Raw = NOTHING


class InvalidRequest(HubError):
    """JSON, but no single valid JSON-RPC message."""

    slug: ClassVar[str] = "invalid_request"
    code: ClassVar[int] = -32600
    status: ClassVar[int] = 400

    def __init__(self, message: str, message_id: bytes | None = None) -> None:
        super().__init__(message)
        self.message_id = message_id
        """The id's JSON text, where one could be read: the error answer carries it."""


class InvalidMeta(InvalidRequest):
    """`params._meta` is not an object."""

    slug: ClassVar[str] = "invalid_params"
    code: ClassVar[int] = -32602


class _Request(Struct, forbid_unknown_fields=True):
    """A request or a notification, its parts as text; what is none does not decode."""

    jsonrpc: Literal["2.0"]
    method: str
    id: Raw = NOTHING
    params: dict[str, Raw] = field(default_factory=dict[str, Raw])


class _Text(Struct):
    """Any message, its parts as text."""

    id: Raw = NOTHING
    result: Raw = NOTHING
    error: Raw = NOTHING


class _Meta(Struct, frozen=True, gc=False):
    """A `_meta` that was read strictly, with the whole of its message."""

    members: Mapping[str, Raw]
    values: Mapping[str, Any]
    notes: Notes
    size: int
    """Of its text, in bytes."""
    colons: int
    """As written."""


_NO_PARAMS: dict[str, Any] = {}
_metas: dict[bytes, _Meta] = {}
_IS_REQUEST, _IS_NOTIFICATION = Kind.REQUEST, Kind.NOTIFICATION
_REQUEST = frozenset({"jsonrpc", "id", "method", "params"})
_RESPONSE = frozenset({"jsonrpc", "id", "result", "error"})
_request = msgspec.json.Decoder(_Request).decode
_text = msgspec.json.Decoder(_Text).decode
_decode = msgspec.json.Decoder().decode
_raw_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def read_message(body: bytes) -> Message:
    """The one message in the body.

    Raises:
        BadJson: The body is not strict JSON.
        InvalidRequest: It is no message: a batch, a bad id, unknown members.
        InvalidMeta: `_meta` is not an object.
    """
    try:
        request = _request(body)
    except (ValueError, RecursionError):
        return _read_response(strict_json.parse(body), body)
    meta = _metas.get(bytes(request.params.get("_meta", NOTHING)))
    if meta is not None:
        message = _read_known(request, meta, body)
        if message is not None:
            return message
        request = _request(body)
    return _read_request(request, body)


def _read_known(request: _Request, meta: _Meta, body: bytes) -> Message | None:
    """A request with a plain id whose `_meta` came before; read is what is new, and taken out.

    None: it is none, or it takes a closer look. Of all members, none stood twice: each has one
    colon, and so would the one that was lost.
    """
    params, message_id = request.params, bytes(request.id)
    del params["_meta"]
    try:
        values = {name: _decode(raw) for name, raw in params.items()}
        if len(body) - meta.size > 2 * DEPTH_MAX:
            strict_json.check_depth(values, body, DEPTH_MAX - 1)
        colons = strict_json.colons_in(values) + meta.colons + MEMBERS + 1
    except (ValueError, RecursionError, OverflowError):
        return None
    if (
        colons != body.count(b":")
        or (b"\\" in body and b"\\u003" in body)
        or not request.method
        or not message_id.isdigit()
        or len(message_id) > PLAIN_ID_DIGITS
    ):
        return None
    values["_meta"] = meta.values
    return Message(
        _IS_REQUEST, request.method, message_id, params, meta.members, meta.notes, values
    )


def _read_request(request: _Request, body: bytes) -> Message:
    """A request or a notification, the whole way."""
    value = strict_json.parse(body)
    message_id = bytes(request.id)
    problem = _id_problem(value["id"]) if message_id else None
    if problem or not request.method:
        readable = message_id if message_id and not problem else None
        raise InvalidRequest(problem or "method: expected a name", readable)
    kind = _IS_REQUEST if message_id else _IS_NOTIFICATION
    params, parsed = request.params, value.get("params", _NO_PARAMS)
    if "_meta" not in params:
        return Message(kind, request.method, message_id, params, parsed=parsed)
    if type(parsed["_meta"]) is not dict:
        raise InvalidMeta("params._meta: expected an object", message_id or None)
    meta = _read_meta(bytes(params.pop("_meta")), parsed["_meta"])
    return Message(kind, request.method, message_id, params, meta.members, meta.notes, parsed)


def _read_meta(text: bytes, values: Mapping[str, Any]) -> _Meta:
    """What a `_meta` says, and what there is to share with whoever says the same."""
    kept = _metas.get(text)
    if kept is None:
        kept = _Meta(_raw_members(text), values, Notes(), len(text), text.count(b":"))
        if len(text) <= META_BYTES_MAX:
            if len(_metas) >= METAS_MAX:
                _metas.clear()
            _metas[text] = kept
    return kept


def _read_response(value: Any, body: bytes) -> Message:
    """The response that this is, or the reason why it is no message."""
    if type(value) is not dict:
        batch = isinstance(value, list)
        raise InvalidRequest("A batch is not taken" if batch else "Expected a JSON object")
    message: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
    problem = _problem(message)
    if problem:
        raise InvalidRequest(problem, _readable_id(message, body))
    text = _text(body)
    return Message(Kind.RESPONSE, id=bytes(text.id), result=text.result, error=text.error)


def _problem(message: Mapping[str, Any]) -> str | None:  # noqa: PLR0911 - a ladder
    """Why this is no response, nor any other message."""
    if message.get("jsonrpc") != "2.0":
        return 'jsonrpc: expected "2.0"'
    if "id" in message and (problem := _id_problem(message["id"])):
        return problem
    if "method" not in message:
        if "id" not in message or ("result" in message) is ("error" in message):
            return "Expected a `method`, or an `id` with `result` or `error`"
        return _unknown(message, _RESPONSE)
    if type(message["method"]) is not str:
        return "method: expected a name"
    if type(message.get("params", _NO_PARAMS)) is not dict:
        return "params: expected an object"
    return _unknown(message, _REQUEST)


def _id_problem(value: Any) -> str | None:
    if type(value) is int:
        fits = -ID_INTEGER_MAX <= value <= ID_INTEGER_MAX
        return None if fits else "id: expected an integer of at most 53 bits"
    if type(value) is not str:
        return "id: expected a string or an integer"
    fits = len(value) <= ID_CHARACTERS_MAX
    return None if fits else f"id: expected at most {ID_CHARACTERS_MAX} characters"


def _unknown(message: Mapping[str, Any], known: frozenset[str]) -> str | None:
    if known.issuperset(message):
        return None
    shown = ", ".join(repr(name[:32]) for name in sorted(message.keys() - known)[:3])
    return f"Unknown members: {shown}"


def _readable_id(message: Mapping[str, Any], body: bytes) -> bytes | None:
    if "id" not in message or _id_problem(message["id"]):
        return None
    return bytes(_raw_members(body)["id"])


# ---------------------------------------------------------------- writing


def result_message(message_id: bytes, result: bytes | Raw) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (message_id, result)


def error_message(
    message_id: bytes | None,
    code: int,
    message: str,
    data: Mapping[str, Any] | bytes | None = None,
) -> bytes:
    """`data` is an object, or raw JSON. Without an id, it could not be read."""
    head = b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":%b' % (
        message_id or b"null",
        code,
        _encode(message),
    )
    if data is None:
        return head + b"}}"
    return b'%b,"data":%b}}' % (head, data if isinstance(data, bytes) else _encode(data))


def request_message(message_id: str, method: str, params: bytes | Raw) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (
        _encode(message_id),
        _encode(method),
        params,
    )


def notification(method: str, params: bytes | Raw) -> bytes:
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_encode(method), params)


def with_members(raw_object: bytes, extra: Mapping[str, bytes]) -> bytes:
    """The object with these members added or replaced; all other values stay, byte for byte.

    `raw_object` is valid JSON (this does not check the inside of it); the values of `extra` are
    raw JSON. Raises BadJson if it is no object.
    """
    if _lacks(raw_object, extra):
        added = _encode({name: Raw(value) for name, value in extra.items()})[1:-1]
        head = raw_object.rstrip()[:-1].rstrip()
        return b"%b%b%b}" % (head, b"" if head[-1:] == b"{" else b",", added)
    members: dict[str, Raw] = _members_of(raw_object)
    members.update((name, Raw(value)) for name, value in extra.items())
    return _encode(members)


def without_members(raw_object: bytes, names: Iterable[str]) -> bytes:
    """The object without these members; all other values stay, byte for byte.

    Raises BadJson if it is no object.
    """
    names = frozenset(names)
    if _lacks(raw_object, names):
        return raw_object
    members = _members_of(raw_object)
    return _encode({name: value for name, value in members.items() if name not in names})


def _lacks(raw_object: bytes, names: Iterable[str]) -> bool:
    """Whether none of the names stands anywhere in the object, by a look at the bytes only."""
    if not raw_object.lstrip().startswith(b"{") or b"\\u" in raw_object or b"\\/" in raw_object:
        return False
    return all(b'"%b"' % name.encode() not in raw_object for name in names)


def _members_of(raw_object: bytes) -> dict[str, Raw]:
    try:
        return _raw_members(raw_object)
    except ValueError:
        raise BadJson("Expected a JSON object") from None
