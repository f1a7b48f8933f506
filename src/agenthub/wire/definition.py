"""A tool's definition: what it promises, as one text that can be hashed, kept and compared (T1).

Only the seven members that tell a model or the hub what the tool does are part of it; `_meta` and
what the hub does not know are not. Equal promises are equal bytes, in whatever order they came.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from agenthub.wire.suspicion import escaped

PROMISED: Final = (
    "name", "description", "inputSchema", "outputSchema", "annotations", "title", "icons",
)  # fmt: skip
LINES_MAX: Final = 500
"""Of a definition, in a comparison; what is beyond counts as one line."""
LINE_MAX: Final = 2_000

_LOWER: Final = {name.lower(): name for name in PROMISED}


def digest(tool: Mapping[str, Any]) -> bytes:
    """SHA-256 of all that the tool promises."""
    return digest_of([tool.get(name) for name in PROMISED])


def digest_of(value: object) -> bytes:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).digest()


def canonical(tool: Mapping[str, Any]) -> bytes:
    """What the tool promises, as JSON."""
    promised = {name: tool[name] for name in PROMISED if tool.get(name) is not None}
    return msgspec.json.encode(promised, order="sorted")


def check_members(tool: Mapping[str, Any]) -> None:
    """Raises ValueError for a member that some readers would take for a promised one.

    Source: CVE-2026-27896 (readers that ignore the case of keys).
    """
    for name in tool:
        if name not in PROMISED and name.lower() in _LOWER:
            raise ValueError(f"{name!r} looks like {_LOWER[name.lower()]!r}")


def annotations(definition: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """The annotations in a definition; empty when there are none."""
    tool: Any = msgspec.json.decode(definition) if isinstance(definition, bytes) else definition
    found = tool.get("annotations")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


# ---------------------------------------------------------------- comparing


def diff(approved: bytes, now: bytes) -> str:
    """What is other now, as a unified diff; characters that nobody sees are written as escapes.

    A definition that was not kept (empty) is compared as if nothing had been there.
    """
    before = _lines(approved) if approved else []
    lines = difflib.unified_diff(before, _lines(now), "approved", "now", lineterm="")
    return "\n".join(lines)


def _lines(definition: bytes) -> list[str]:
    tool: dict[str, Any] = msgspec.json.decode(definition)
    lines: list[str] = []
    for name in PROMISED:
        if name not in tool:
            continue
        value = tool[name]
        if not isinstance(value, str):
            value = json.dumps(value, indent=2, ensure_ascii=False)
        first, *others = value.split("\n")
        lines += [f"{name}: {first}", *(f"  {line}" for line in others)]
    if len(lines) > LINES_MAX:
        rest = lines[LINES_MAX:]
        lines[LINES_MAX:] = [f"… {len(rest)} more lines, SHA-256 {digest_of(rest).hex()}"]
    return [_line(line) for line in lines]


def _line(line: str) -> str:
    shown = escaped(line[:LINE_MAX])
    if len(line) <= LINE_MAX:
        return shown
    # Cut, but still another line when what is cut off is other.
    return f"{shown}… {len(line)} characters, SHA-256 {digest_of(line).hex()}"
