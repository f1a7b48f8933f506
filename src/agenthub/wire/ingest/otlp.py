"""OpenTelemetry's JSON (OTLP/HTTP): records in scopes in resources, attributes as lists of pairs.

    {resourceLogs: [{resource, scopeLogs: [{scope, logRecords: [{attributes: [{key, value}]}]}]}]}

Numbers of 64 bits may be texts. Source: OTLP specification, "JSON Protobuf Encoding".
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from agenthub.wire.ingest.report import whole

_KINDS: Final = ("stringValue", "intValue", "doubleValue", "boolValue")


def records(message: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """The records of an export; `kind`: "Logs", or "Spans"."""
    member = "logRecords" if kind == "Logs" else "spans"
    for resource in _objects(message, f"resource{kind}"):
        for scope in _objects(resource, f"scope{kind}"):
            yield from _objects(scope, member)


def attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Those with a plain value. Of two with one key the first holds."""
    found: dict[str, Any] = {}
    for pair in _objects(record, "attributes"):
        key, value = pair.get("key"), pair.get("value")
        if type(key) is not str or type(value) is not dict:
            continue
        said = cast("dict[str, Any]", value)
        plain = next((said[one] for one in _KINDS if one in said), None)
        if plain is not None:
            found.setdefault(key, plain)
    return found


def time_ns(record: Mapping[str, Any], *names: str) -> int:
    """The first of these times that is said; 0 if none is."""
    return next((found for name in names if (found := whole(record.get(name)))), 0)


def _objects(holder: Any, member: str) -> Iterator[Mapping[str, Any]]:
    held = cast("dict[str, Any]", holder).get(member) if type(holder) is dict else None
    for one in cast("list[Any]", held) if type(held) is list else ():
        if type(one) is dict:
            yield cast("dict[str, Any]", one)
