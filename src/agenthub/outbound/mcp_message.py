"""MCP messages to and from a server, over any transport; only the envelope is decoded."""

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from agenthub import __version__
from agenthub.domain.call import TASK_METHODS, Era
from agenthub.domain.outcome import NOTHING, Ending, Reply, ResultHead
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.ports import Outgoing
from agenthub.wire.jsonrpc import without_members

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
"""The newest of the old; the server may answer with an older one."""
HUB = msgspec.json.encode({"name": "agenthub", "version": __version__})
PROTOCOL = "io.modelcontextprotocol/"
DEADLINE_MARGIN = 50 * MILLISECOND
"""Kept for the way back (R41)."""
PLAIN_MAX = 1_024
"""Bytes of what a client says of itself, where it is kept ready."""
DEADLINE_MS = "io.agenthub/deadlineMs"
LOG_LEVEL = PROTOCOL + "logLevel"
CANCELLED = "notifications/cancelled"
ELICITED = "notifications/elicitation/complete"
"""What an old client was asked to do on a web page is done (2025-11-25)."""
UNHEARD = frozenset(
    {
        CANCELLED,
        ELICITED,
        "notifications/progress",
        "notifications/subscriptions/acknowledged",
    }
)
"""Of no use to anybody once they do not belong to an attempt in flight."""


class Message(Struct, frozen=True):
    """The envelope of whatever a server may say."""

    id: int | str | UnsetType | None = UNSET
    method: str = ""
    params: Raw = NOTHING
    result: Raw = NOTHING
    error: Raw = NOTHING


class ErrorHead(Struct, frozen=True):
    code: int
    message: str = ""
    data: Raw = NOTHING


class _Progress(Struct, frozen=True):
    token: int | str = field(name="progressToken")


class _Cancelled(Struct, frozen=True):
    request_id: int | str = field(name="requestId")


_envelope = msgspec.json.Decoder(Message)
_result = msgspec.json.Decoder(ResultHead).decode
_error = msgspec.json.Decoder(ErrorHead)
_progress = msgspec.json.Decoder(_Progress)
_cancelled = msgspec.json.Decoder(_Cancelled)
_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_HEAD_ID = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,18})\s*,\s*"(?:result|error)"'
)
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOM = b"\xef\xbb\xbf"
# An attribute of an Enum class costs more than a global name, and this stands on the hot path.
_RESULT = Ending.RESULT
_NAMED_BY = {
    **dict.fromkeys(("resources/read", "resources/subscribe", "resources/unsubscribe"), "uri"),
    **dict.fromkeys(TASK_METHODS, "taskId"),
}
"""The parameter that names the target, where it is not `name`."""


def parse(line: bytes) -> Message | None:
    """None for what is no message: log lines, other JSON, nesting without end."""
    try:
        return _envelope.decode(line[3:] if line.startswith(_BOM) else line)
    except (ValueError, RecursionError):
        return None


def is_utf8(line: bytes) -> bool:
    """What msgspec passes on raw it does not look into."""
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_version(text: str) -> bool:
    """Whether it looks like a revision of the protocol, and so can stand in a header."""
    return bool(_VERSION.fullmatch(text))


def head_id(head: bytes) -> int | None:
    """The id of an answer of which only the beginning is there."""
    match = _HEAD_ID.match(head)
    return int(match[1]) if match else None


def error_head(error: Raw) -> ErrorHead | None:
    try:
        return _error.decode(error)
    except ValueError:
        return None


def reply_of(message: Message, line: bytes, status: int = 0) -> Reply:
    """What an answer means; facts only. `status` is HTTP's."""
    result, error = bytes(message.result), bytes(message.error)
    if not line.isascii() and not is_utf8(line):
        return _wrong("the answer is not UTF-8", status)
    if bool(result) == bool(error):
        return _wrong("the answer has not exactly one of result and error", status)
    if error:
        head = error_head(message.error)
        if head is None:
            return _wrong("the error has no code", status)
        return Reply(Ending.ERROR, error=error, code=head.code, status=status)
    try:
        return _result_reply(result, status)
    except ValueError as wrong:
        return _wrong(f"the result has the wrong shape: {wrong}", status)


def plain_reply(line: bytes, number: int, status: int) -> Reply | None:
    """The result that this is, if it answers the request as most servers write that.

    None: it is to be read the whole way. What stands between such a beginning and the last brace,
    if it is JSON by itself, is the result and nothing else; so it is gone through only once.
    """
    beginning = b'{"jsonrpc":"2.0","id":%d,"result":' % number
    if not line.startswith(beginning) or line[-1:] != b"}":
        return None
    try:
        reply = _result_reply(line[len(beginning) : -1], status)
    except ValueError:
        return None
    return reply if is_utf8(line) else None


def of_old_server(reply: Reply) -> Reply:
    """The same, for an era with one kind of result: a made-up one would have a tool run again."""
    if reply.result_type == "complete":
        return reply
    return _result_reply(without_members(reply.result, ("resultType",)), reply.status)


def _result_reply(result: bytes, status: int) -> Reply:
    head = _result(result)
    return Reply(
        _RESULT,
        result=result,
        head=head,
        status=status,
        is_error=bool(head.is_error),
        result_type=head.result_type or "complete",
    )


def _wrong(detail: str, status: int) -> Reply:
    return Reply(Ending.PROTOCOL, status=status, detail=detail)


def request(message_id: int, method: str, params: Mapping[str, object] | None = None) -> bytes:
    """A request of the hub's own, in the old era."""
    body: dict[str, object] = {"jsonrpc": "2.0", "id": message_id, "method": method}
    if params is not None:
        body["params"] = params
    return _encode(body)


def modern_request(
    message_id: int, method: str, params: Mapping[str, object] | None = None
) -> bytes:
    """A request of the hub's own, in the new era."""
    meta: dict[str, object] = {
        PROTOCOL + "protocolVersion": MODERN,
        PROTOCOL + "clientCapabilities": Raw(b"{}"),
        PROTOCOL + "clientInfo": Raw(HUB),
    }
    return request(message_id, method, {**(params or {}), "_meta": meta})


def initialize(message_id: int, declared: bytes = b"{}") -> bytes:
    """`declared`: the capabilities of the client that the session is for, raw JSON."""
    params = {"protocolVersion": LEGACY, "capabilities": Raw(declared), "clientInfo": Raw(HUB)}
    return request(message_id, "initialize", params)


def notification(method: str, params: Mapping[str, object] | None = None) -> bytes:
    body: dict[str, object] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        body["params"] = params
    return _encode(body)


def pong(message_id: int | str) -> bytes:
    return _encode({"jsonrpc": "2.0", "id": message_id, "result": {}})


def answer(message_id: int | str, result: bytes, error: bytes = b"") -> bytes:
    """The answer to a request of the server's: a raw result, or else a raw error object."""
    part: dict[str, object] = {"error": Raw(error)} if error else {"result": Raw(result)}
    return _encode({"jsonrpc": "2.0", "id": message_id, **part})


def attempt_request(
    message_id: int, outgoing: Outgoing, era: Era, now: Nanoseconds
) -> bytes | None:
    """One attempt as a line, with the hub's own id and progress token; None: not JSON."""
    params: dict[str, object] = dict(outgoing.params)
    if outgoing.name:
        put_name(params, outgoing)
    if meta := meta_of(message_id, outgoing, era, now):
        params["_meta"] = meta
    body = {"jsonrpc": "2.0", "id": message_id, "method": outgoing.method, "params": params}
    return as_line(_encode(body))


def as_line(data: bytes) -> bytes | None:
    """A message as a line of its own; None: not JSON.

    Raw parts keep the client's own line breaks, and a line break ends a message on a pipe.
    """
    if b"\n" in data or b"\r" in data:
        try:
            data = msgspec.json.format(data, indent=-1)
        except (ValueError, RecursionError):
            return None
    return data + b"\n"


def put_name(params: dict[str, object], outgoing: Outgoing) -> None:
    """The target's name where its method has it."""
    if outgoing.method != "completion/complete":
        params[_NAMED_BY.get(outgoing.method, "name")] = outgoing.name
    elif "ref" in outgoing.params:
        ref: dict[str, object] = dict(_fields.decode(outgoing.params["ref"]))
        ref["name" if "name" in ref else "uri"] = outgoing.name
        params["ref"] = ref


def meta_of(message_id: int, outgoing: Outgoing, era: Era, now: Nanoseconds) -> dict[str, object]:
    """What the era needs of `_meta`, around what the caller passes on."""
    meta: dict[str, object]
    if era is Era.LEGACY:
        meta = {k: v for k, v in outgoing.meta.items() if not k.startswith(PROTOCOL)}
    else:
        meta = {
            **outgoing.meta,
            PROTOCOL + "protocolVersion": MODERN,
            PROTOCOL + "clientCapabilities": Raw(outgoing.capabilities or b"{}"),
            PROTOCOL + "clientInfo": Raw(outgoing.client_info or HUB),
            DEADLINE_MS: left_ms(outgoing, now),
        }
    if "progressToken" in meta:
        meta["progressToken"] = message_id
    return meta


def plain_meta(outgoing: Outgoing) -> bytes | None:
    """`meta_of` for a modern server, as the last member of its object, up to the time left.

    None where something is passed on or much was said; else the text is that of other calls, which
    costs 1 us less than to encode it anew. To be followed by `left_ms` and three braces, for it,
    the params and the message.
    """
    capabilities, client_info = outgoing.capabilities, outgoing.client_info
    if outgoing.meta or len(capabilities) + len(client_info) > PLAIN_MAX:
        return None
    return _plain_meta(capabilities, client_info)


@lru_cache(64)
def _plain_meta(capabilities: bytes, client_info: bytes) -> bytes:
    meta = meta_of(0, Outgoing("", "", {}, {}, 0, capabilities, client_info), Era.MODERN, 0)
    del meta[DEADLINE_MS]
    return b',"_meta":%b,"%b":' % (_encode(meta)[:-1], DEADLINE_MS.encode())


class _Tag(Struct, frozen=True):
    subscription: int | str | None = field(name=PROTOCOL + "subscriptionId", default=None)


class _Tagged(Struct, frozen=True):
    meta: _Tag = field(name="_meta", default=_Tag())


def subscription_id(params: Raw) -> int | str | None:
    """Which of the streams of the server's news this came on."""
    try:
        return msgspec.json.decode(params, type=_Tagged).meta.subscription
    except ValueError:
        return None


def left_ms(outgoing: Outgoing, now: Nanoseconds) -> int:
    return max(1, (outgoing.deadline - now - DEADLINE_MARGIN) // MILLISECOND)


def progress_token(params: Raw) -> int | str | None:
    try:
        return _progress.decode(params).token
    except ValueError:
        return None


def cancelled_id(params: Raw) -> int | str | None:
    """Which request is taken back."""
    try:
        return _cancelled.decode(params).request_id
    except ValueError:
        return None


def with_progress_token(params: Raw, token: Raw) -> bytes:
    """The same progress, under the client's own token."""
    return _encode({**_fields.decode(params), "progressToken": token})


LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class _Log(Struct, frozen=True):
    level: str


def level_of(raw: Raw | None) -> int | None:
    """How grave a log level is, as raw JSON; None for what is none."""
    try:
        return None if raw is None else LEVELS.index(msgspec.json.decode(raw, type=str))
    except ValueError:
        return None


def log_level(params: Raw) -> int:
    """How grave a log message is; what says nothing of itself passes every filter."""
    try:
        return LEVELS.index(msgspec.json.decode(params, type=_Log).level)
    except ValueError:
        return len(LEVELS)


class _ListChanged(Struct, frozen=True):
    list_changed: bool | None = field(name="listChanged", default=None)


class _Resources(_ListChanged, frozen=True):
    subscribe: bool | None = None


class _Capabilities(Struct, frozen=True):
    logging: Raw = NOTHING
    tools: _ListChanged | None = None
    prompts: _ListChanged | None = None
    resources: _Resources | None = None


def can_log(capabilities: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(capabilities, type=_Capabilities).logging)
    except ValueError:
        return False


def can_subscribe(capabilities: bytes) -> bool:
    """Whether the server tells when a resource has changed."""
    try:
        has = msgspec.json.decode(capabilities, type=_Capabilities)
    except ValueError:
        return False
    return bool(has.resources and has.resources.subscribe)


def list_changes(capabilities: bytes) -> dict[str, bool]:
    """The filter of `subscriptions/listen` that fits what the server can tell."""
    try:
        has = msgspec.json.decode(capabilities, type=_Capabilities)
    except ValueError:
        return {}
    lists = {"tools": has.tools, "prompts": has.prompts, "resources": has.resources}
    return {f"{name}ListChanged": True for name, one in lists.items() if one and one.list_changed}
