r"""The one reader for JSON that a client sends: what it accepts has one reading, for every reader.

Parsers differ where RFC 8259 leaves room: the first or the last of two equal keys, NaN, half a
surrogate pair, numbers beyond 64 bits. A guard that reads one thing and a server that reads
another is a way round the guard, so all of that is refused.

msgspec does most of it in C. Two things it lets pass are found by encoding what it read:

- A key that stood twice is once in the result. A colon stands after every key and inside
  strings, which come back as they went in, so a lost key is a lost colon. Only a string with a
  colon written as `\u003a` spoils the count; such a document is read again, slowly.
- An integer beyond 64 bits has no place in MessagePack.

Source: RFC 8259 §4, §6, §8; rule A14.
"""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

import msgspec

from agenthub.domain.errors import HubError

DEPTH_MAX = 64
"""Objects and arrays inside one another. MCP's own messages need about ten."""

_NESTS = (dict, list)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


class BadJson(HubError):
    """The body is not strict JSON."""

    slug: ClassVar[str] = "bad_json"
    code: ClassVar[int] = -32700
    status: ClassVar[int] = 400


def parse(body: bytes) -> Any:
    """What the document says.

    Raises:
        BadJson: It is no JSON, or JSON that two readers may read in two ways.
    """
    try:
        value = _decode(body)
        if type(value) is str:
            return value
        # What is so deep takes two brackets for each level.
        if len(body) > 2 * DEPTH_MAX:
            check_depth(value, body, DEPTH_MAX)
        colons = colons_in(value)
    except (ValueError, RecursionError, OverflowError) as error:
        _refuse(error)
    if b"\\" in body and b"\\u003" in body:
        _check_keys(body)
    elif colons != body.count(b":"):
        raise BadJson("The JSON has the same key twice in one object")
    return value


def colons_in(value: Any) -> int:
    """How many the document has if no key in it stood twice, and no string is spelled oddly.

    Raises OverflowError for an integer beyond 64 bits.
    """
    _pack(value)
    return _encode(value).count(b":")


def check_depth(value: Any, body: bytes, depth_max: int) -> None:
    """That a value out of this body is no deeper. Raises RecursionError."""
    if body.count(b"{") + body.count(b"[") <= depth_max:
        return
    level = [value]
    for _ in range(depth_max):
        level = [inner for outer in level for inner in _members(outer) if type(inner) in _NESTS]
        if not level:
            return
    raise RecursionError


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def _check_keys(body: bytes) -> None:
    """The exact way: every object's keys, as they are spelled out."""
    json.loads(body, object_pairs_hook=_only_once)


def _only_once(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise BadJson("The JSON has the same key twice in one object")


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, RecursionError):
        raise BadJson(f"The JSON is nested deeper than {DEPTH_MAX}") from None
    if isinstance(error, OverflowError):
        raise BadJson("The JSON has an integer beyond 64 bits") from None
    if isinstance(error, UnicodeDecodeError):
        raise BadJson("The JSON is not UTF-8") from None
    raise BadJson(f"Not strict JSON: {str(error)[:200]}") from None
