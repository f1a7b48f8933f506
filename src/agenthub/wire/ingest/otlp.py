"""OpenTelemetry's JSON (OTLP/HTTP): records in scopes in resources, attributes as lists of pairs.

    {resourceLogs: [{resource, scopeLogs: [{scope, logRecords: [{attributes: [{key, value}]}]}]}]}

Numbers of 64 bits may be texts. Source: OTLP specification, "JSON Protobuf Encoding".
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from agenthub.wire.ingest.report import whole

MEMBERS: Final = {"Logs": "logRecords", "Spans": "spans", "Metrics": "metrics"}
"""What a resource holds is named by the kind, and so is what a scope in it holds."""
REJECTED: Final = {
    "Logs": "rejectedLogRecords", "Spans": "rejectedSpans", "Metrics": "rejectedDataPoints",
}  # fmt: skip
_KINDS: Final = ("stringValue", "intValue", "doubleValue", "boolValue")


def records(message: Any, kind: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The records of an export, each with its resource's attributes; `kind`: one of `MEMBERS`."""
    for resource in _objects(message, f"resource{kind}"):
        about = resource.get("resource")
        shared = attributes(cast("dict[str, Any]", about)) if type(about) is dict else {}
        for scope in _objects(resource, f"scope{kind}"):
            for record in _objects(scope, MEMBERS[kind]):
                yield shared, record


def is_subscribed(*places: Mapping[str, Any]) -> bool:
    """Whether `billing=subscription` stands in one of them (OTEL_RESOURCE_ATTRIBUTES)."""
    return any(place.get("billing") == "subscription" for place in places)


def attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Those with a plain value, but numbers below zero; of two with one key the first holds."""
    found: dict[str, Any] = {}
    for pair in _objects(record, "attributes"):
        key, value = pair.get("key"), pair.get("value")
        if type(key) is not str or type(value) is not dict:
            continue
        said = cast("dict[str, Any]", value)
        kind = next((one for one in _KINDS if one in said), "")
        plain = whole(said[kind]) if kind == "intValue" else said.get(kind)
        if plain is not None:
            found.setdefault(key, plain)
    return found


def time_ns(record: Mapping[str, Any], *names: str) -> int:
    """The first of these times that is said; 0 if none is."""
    return next((found for name in names if (found := whole(record.get(name)))), 0)


# ------------------------------------------------------------ answers


def taken(kind: str, *, as_json: bool, rejected: int = 0, why: str = "") -> bytes:
    """The answer to an export; what was rejected is not to be sent again."""
    if not rejected:
        return b"{}" if as_json else b""
    if as_json:
        partial = {REJECTED[kind]: str(rejected), "errorMessage": why}
        return msgspec.json.encode({"partialSuccess": partial})
    return _field(1, b"\x08" + _varint(rejected) + _field(2, why.encode()))


def refused(code: int, why: str, *, as_json: bool) -> bytes:
    """google.rpc.Status; `code`: as of gRPC."""
    if as_json:
        return msgspec.json.encode({"code": code, "message": why})
    return b"\x08" + _varint(code) + _field(2, why.encode())


def _field(number: int, data: bytes) -> bytes:
    """Protobuf, of the wire type LEN."""
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _objects(holder: Any, member: str) -> Iterator[Mapping[str, Any]]:
    held = cast("dict[str, Any]", holder).get(member) if type(holder) is dict else None
    for one in cast("list[Any]", held) if type(held) is list else ():
        if type(one) is dict:
            yield cast("dict[str, Any]", one)
