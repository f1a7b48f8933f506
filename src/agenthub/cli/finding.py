"""What connecting to a server found, in words; from `POST /api/endpoints/{name}/test`."""

from collections.abc import Mapping
from typing import Any

from agenthub.cli.terminal import one_line, paint


def is_well(found: Mapping[str, Any]) -> bool:
    return bool(found.get("ok"))


def describe(found: Mapping[str, Any]) -> str:
    """One line: what it is, or why it does not answer and what to do."""
    if is_well(found):
        spoken = " ".join(str(found[k]) for k in ("era", "version") if found.get(k))
        count = tools_count(found)
        told = [spoken] if spoken else []
        told += [] if count is None else [f"{count} tool{'' if count == 1 else 's'}"]
        if pending := found.get("tools_pending"):
            told.append(f"{pending} not approved (`agenthub tools --pending`)")
        if odd := found.get("suspicions"):
            told.append(f"{len(odd)} odd (`agenthub tools` says why)")
        return ", ".join(told) or "it answers"
    reason = one_line(str(found.get("problem") or found.get("reason") or "it does not answer yet"))
    hint = one_line(str(found.get("hint") or ""))
    return f"{reason.rstrip('.')}. {hint}".strip()


def tools_count(found: Mapping[str, Any]) -> int | None:
    count = found.get("tools_count", found.get("tools"))
    if isinstance(count, list):
        return len(count)  # pyright: ignore[reportUnknownArgumentType] - only how many
    return count if isinstance(count, int) else None


def mark(found: Mapping[str, Any]) -> str:
    return paint("ok", "green") if is_well(found) else paint("sick", "yellow")
