"""MCP's headers that repeat what the body says: written, read, and held against the body.

    inputSchema: {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    arguments:   {"region": "Zürich"}
    header:      Mcp-Param-Region: =?base64?WsO8cmljaA==?=

Who routes by a header trusts what the body never said, unless somebody compares. So the hub does,
and sends on only what it computed itself.

Source: MCP specification 2026-07-28, "Streamable HTTP, Request Metadata" (SEP-2243); rule A16.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

from msgspec import Struct

from agenthub.domain.errors import HubError

PARAM_PREFIX = "Mcp-Param-"
ANNOTATION = "x-mcp-header"
KINDS = frozenset({"string", "integer", "boolean"})

_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"(-?[0-9]{1,40})(?:\.0+)?")

# Where a schema may stand inside a schema (JSON Schema 2020-12), besides `properties`.
_ONE = frozenset({
    "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties"})


class HeaderMismatch(HubError):
    """A header does not say what the body says."""

    slug: ClassVar[str] = "header_mismatch"
    code: ClassVar[int] = -32020
    status: ClassVar[int] = 400


class BadAnnotation(ValueError):
    """An `x-mcp-header` that breaks the rules: no client may be offered the tool over HTTP."""


class ParamHeader(Struct, frozen=True):
    """A property that a client repeats in a header."""

    name: str
    """As it is sent: `Mcp-Param-Region`."""
    path: tuple[str, ...]
    """The names that lead to the argument."""
    kind: str
    """The property's `type`."""


# ---------------------------------------------------------------- one value


def encode(value: str) -> str:
    """As a header carries it: visible ASCII as it is, anything else in base64."""
    if _PLAIN.fullmatch(value) and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode(value: str) -> str:
    """What `encode` was given. Raises HeaderMismatch for broken base64 or UTF-8."""
    found = _SENTINEL.fullmatch(value)
    if found is None:
        return value
    try:
        data = base64.b64decode(found[1], validate=True)
        text = data.decode()
    except (binascii.Error, ValueError):
        raise HeaderMismatch("A header has a malformed base64 value") from None
    # Some spellings decode to the same bytes; only one of them is what a writer makes.
    if base64.b64encode(data).decode() != found[1]:
        raise HeaderMismatch("A header has a malformed base64 value")
    return text


# ---------------------------------------------------------------- a tool's annotations


def param_headers(input_schema: Mapping[str, Any]) -> dict[str, ParamHeader]:
    """The annotated properties by header name in lower case.

    Raises BadAnnotation if any annotation in the schema breaks the rules.
    """
    found: dict[str, ParamHeader] = {}
    for path, schema in _positions(input_schema):
        if ANNOTATION not in schema:
            continue
        header = _header(path, schema)
        if header.name.lower() in found:
            raise BadAnnotation(f"{ANNOTATION}: {header.name[len(PARAM_PREFIX) :]!r} stands twice")
        found[header.name.lower()] = header
    return found


def _header(path: tuple[str, ...] | None, schema: Mapping[str, Any]) -> ParamHeader:
    if not path:
        raise BadAnnotation(f"{ANNOTATION}: only a property, reached by properties, may have it")
    where = ".".join(path)[:64]
    name, kind = schema[ANNOTATION], schema.get("type")
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise BadAnnotation(f"{where}: {ANNOTATION}: expected a header's name")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadAnnotation(f"{where}: {ANNOTATION}: expected type string, integer or boolean")
    return ParamHeader(PARAM_PREFIX + name, path, kind)


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema inside the schema, with its path of properties; None where that is broken.

    Data (`const`, `default`, …) is not entered and `$ref` not followed, so this ends.
    """
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, value = stack.pop()
        if not isinstance(value, dict):
            continue
        schema = cast("dict[str, Any]", value)
        yield path, schema
        for keyword, below in schema.items():
            stack += _below(path, keyword, below)


def _below(
    path: tuple[str, ...] | None, keyword: str, below: Any
) -> list[tuple[tuple[str, ...] | None, Any]]:
    """What a keyword of a schema holds, if that is schemas."""
    if keyword in _ONE:
        return [(None, below)]
    if isinstance(below, list) and keyword in _MANY:
        return [(None, inner) for inner in cast("list[Any]", below)]
    if not isinstance(below, dict):
        return []
    named = cast("dict[str, Any]", below)
    if keyword == "properties":
        return [(None if path is None else (*path, name), s) for name, s in named.items()]
    return [(None, inner) for inner in named.values()] if keyword in _NAMED else []


# ---------------------------------------------------------------- a call's headers


def encode_params(headers: Mapping[str, ParamHeader], arguments: Any) -> dict[str, str]:
    """The headers to send with these arguments; what is absent or null has none."""
    sent: dict[str, str] = {}
    for header in headers.values():
        text = _text(_value_at(arguments, header.path))
        if text is not None:
            sent[header.name] = encode(text)
    return sent


def received_params(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The `Mcp-Param-*` headers of a request, by name in lower case.

    Raises HeaderMismatch for one that came twice (the first and the last reader would disagree),
    or that is not ASCII.
    """
    found: dict[str, str] = {}
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        if not name.startswith("mcp-param-"):
            continue
        if name in found:
            raise HeaderMismatch(f"{name[:64]} came twice")
        try:
            found[name] = value.decode("ascii")
        except UnicodeDecodeError:
            raise HeaderMismatch(f"{name[:64]} is not ASCII") from None
    return found


def check_params(
    headers: Mapping[str, ParamHeader], arguments: Any, received: Mapping[str, str]
) -> None:
    """Hold what came in headers against the arguments; both or neither must be there, and equal.

    `received` has its names in lower case, as from `received_params`; those that the schema does
    not know are nobody's business. Raises HeaderMismatch.
    """
    for name, header in headers.items():
        value = _value_at(arguments, header.path)
        expected, came = _text(value), received.get(name)
        where = ".".join(header.path)[:64]
        if expected is None and came is None:
            continue
        if came is None:
            raise HeaderMismatch(f"{header.name} is missing: the argument {where!r} is there")
        if expected is None:
            raise HeaderMismatch(f"{header.name} came: the argument {where!r} is not there")
        if not _same(header, value, expected, decode(came)):
            raise HeaderMismatch(f"{header.name} is not the argument {where!r}")


def _same(header: ParamHeader, value: Any, expected: str, came: str) -> bool:
    if came == expected:
        return True
    # 42 and 42.0 are the same integer, whichever of them either side wrote.
    decimal = _DECIMAL.fullmatch(came)
    if header.kind != "integer" or decimal is None or isinstance(value, bool | str):
        return False
    return int(decimal[1]) == value


def _value_at(arguments: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(arguments, dict):
            return None
        arguments = arguments.get(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return arguments  # pyright: ignore[reportUnknownVariableType]


def _text(value: Any) -> str | None:
    """The value in words; None for what no header can carry."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None
