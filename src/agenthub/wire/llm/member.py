"""Where the members of a JSON object stand in its text, so that one can be changed alone."""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from agenthub.wire.strict_json import BadJson

_BEFORE_VALUE = re.compile(rb'\s*[{,]\s*"(?:[^"\\]|\\.)*"\s*:\s*', re.DOTALL)
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def places(text: bytes) -> dict[str, slice]:
    """Of each member's value, in the text of one strict JSON object. Raises BadJson: it is none."""
    try:
        values = _members(text)
    except ValueError:
        raise BadJson("Expected a JSON object") from None
    found: dict[str, slice] = {}
    end = 0
    for name, value in values.items():
        head = _BEFORE_VALUE.match(text, end)
        assert head is not None  # what msgspec reads has a name and a colon before each value
        end = head.end() + len(memoryview(value))
        found[name] = slice(head.end(), end)
    return found


def with_values(text: bytes, values: Mapping[str, bytes]) -> bytes:
    """The object with these values (raw JSON), new ones at its end; every other byte stays."""
    where = places(text)
    edits = sorted(
        ((where[name], value) for name, value in values.items() if name in where),
        key=lambda edit: edit[0].start,
    )
    parts: list[bytes] = []
    end = 0
    for place, value in edits:
        parts += (text[end : place.start], value)
        end = place.stop
    close = text.rindex(b"}")
    parts.append(text[end:close])
    comma = b"," if where else b""
    for name, value in values.items():
        if name not in where:
            parts.append(b"%b%b:%b" % (comma, msgspec.json.encode(name), value))
            comma = b","
    parts.append(text[close:])
    return b"".join(parts)
