"""`check` and `doctor`: how each server is, and why one is sick."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at
from agenthub.cli.ending import FAILED
from agenthub.cli.finding import describe, is_well, mark, sign_in
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import one_line, paint, plain, progress

LOOK_S = 5
"""So long `doctor` waits for each server; all at once."""
STDERR_LINES = 10


@click.command()
@json_option
@home_option
def check(home: Path, *, as_json: bool) -> None:
    """Show each server's era, transport, timeouts, breaker, limit, fallbacks and state.

    --json: {"status", "reasons", "servers": [{"name", "health", "reason", "hint", "transport",
    "era", "timeouts_ms", "breaker", "limit", "fallbacks", "sign_in"}]}, as GET /api/check gives it.
    """
    with hub_at(home, connect=None) as hub:
        found = hub.check()
    if as_json:
        show_json(found)
        return
    lines: list[dict[str, Any]] = found["servers"]
    if not lines:
        print("No servers. `agenthub add` adds one.")
        return
    heads = [
        "name",
        "state",
        "transport",
        "era",
        "limit",
        "breaker",
        "timeouts",
        "fallbacks",
        "why",
    ]
    show_table(heads, [_row(line) for line in lines])


def _row(line: dict[str, Any]) -> list[str]:
    times = "/".join(f"{span / 1000:g}" for span in line["timeouts_ms"].values())
    why = describe(line) if line["health"] != "ok" and line.get("reason") else sign_in(line)
    return [
        line["name"],
        line["health"],
        line["transport"],
        line.get("era") or "-",
        line["limit"],
        line["breaker"],
        f"{times} s",
        ", ".join(line["fallbacks"]) or "-",
        why,
    ]


@click.command()
@click.argument("server", required=False)
@json_option
@home_option
def doctor(home: Path, server: str | None, *, as_json: bool) -> int:
    """Find out why servers are sick, and what to do. Exit code 1 if any is.

    --json: {"servers": [{"name", "ok", "enabled", "problem", "hint", "era", "stderr", …}]}.
    """
    with hub_at(home, connect=[]) as hub:
        views = [hub.endpoint(server)] if server else hub.endpoints()
        on = [view["name"] for view in views if view["config"].get("enabled", True)]
        with progress(f"Looking at {len(on)} servers"):
            found = hub.test(on, LOOK_S)
        after = {view["name"]: view for view in hub.endpoints()}
    cases = [_case(after.get(view["name"], view), found.get(view["name"])) for view in views]
    sick = [case for case in cases if case["enabled"] and not case["ok"]]
    if as_json:
        show_json({"servers": cases})
    else:
        _show(cases, sick)
    return FAILED if sick else 0


def _case(view: dict[str, Any], found: dict[str, Any] | None) -> dict[str, Any]:
    """What is known of a server, before the look and by it."""
    case: dict[str, Any] = {
        "name": view["name"],
        "enabled": found is not None,
        "transport": view["transport"],
        "breaker": view["breaker"]["state"],
        "hint": view.get("hint") or "",
        "stderr": view.get("stderr") or [],
    }
    if found is None:
        return {**case, "ok": True, "problem": ""}
    case |= {key: value for key, value in found.items() if value or key not in case}
    case.setdefault("problem", "" if is_well(found) else view.get("reason") or "")
    return case


def _show(cases: Sequence[dict[str, Any]], sick: Sequence[dict[str, Any]]) -> None:
    for case in cases:
        if not case["enabled"]:
            print(f"{case['name']}: {paint('off', 'dim')}. `agenthub enable {case['name']}`.")
            continue
        print(f"{case['name']}: {mark(case)}: {describe(case)}")
        if case["breaker"] not in {"closed", ""}:
            print(f"  its breaker is {case['breaker'].replace('_', ' ')}")
        if case in sick:
            for line in case["stderr"][-STDERR_LINES:]:
                print(paint(f"  | {plain(one_line(str(line)))}", "dim"))
    count = len([case for case in cases if case["enabled"]])
    if sick:
        print(f"{len(sick)} of {count} servers {'is' if len(sick) == 1 else 'are'} sick.")
    elif cases:
        print(f"All {count} servers are well.")
    else:
        print("No servers. `agenthub add` adds one.")
