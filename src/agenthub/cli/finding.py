"""What connecting to a server found, in words; from `POST /api/endpoints/{name}/test`."""

from collections.abc import Mapping
from datetime import datetime
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
        if models := found.get("models_count"):
            told.append(f"{models} model{'' if models == 1 else 's'}")
        if pending := found.get("tools_pending"):
            told.append(f"{pending} not approved (`agenthub tools --pending`)")
        if odd := found.get("suspicions"):
            told.append(f"{len(odd)} odd (`agenthub tools` says why)")
        return ", ".join(told) or "it answers"
    reason = one_line(str(found.get("problem") or found.get("reason") or "it does not answer yet"))
    hint = one_line(str(found.get("hint") or ""))
    return f"{reason.rstrip('.')}. {hint}".strip()


def signed_in(state: Mapping[str, Any]) -> str:
    """How long a sign-in lasts and what it lacks, in words that go after another; or nothing."""
    ends, wanted = state.get("ends_s"), state.get("wanted")
    until = f" until {_date(ends)}" if isinstance(ends, int) else ""
    return until + (f"; it lacks scopes: {' '.join(wanted)}" if wanted else "")


def sign_in(view: Mapping[str, Any]) -> str:
    """Whether the hub is signed in to a server, and what to do for more; empty if it is not."""
    state: Mapping[str, Any] = view.get("sign_in") or {}
    if not state.get("signed_in"):
        return ""
    todo = f" (`agenthub login {view['name']}`)" if state.get("wanted") else ""
    return one_line(f"signed in{signed_in(state)}{todo}")


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def tools_count(found: Mapping[str, Any]) -> int | None:
    count = found.get("tools_count", found.get("tools"))
    if isinstance(count, list):
        return len(count)  # pyright: ignore[reportUnknownArgumentType] - only how many
    return count if isinstance(count, int) else None


def mark(found: Mapping[str, Any]) -> str:
    return paint("ok", "green") if is_well(found) else paint("sick", "yellow")
