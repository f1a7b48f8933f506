"""`breaker list`, `open`, `close`, `reset`: the operator's word outweighs the rules."""

from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; it is kept.")
for_option = click.option(
    "--for", "ttl_s", type=click.IntRange(1, 30 * 86_400), metavar="S",
    help="For so many seconds; else until `reset`.",
)  # fmt: skip


@click.group()
def breaker() -> None:
    """Show circuit breakers; open, close or reset one."""


@breaker.command("list")
@json_option
@home_option
def list_breakers(home: Path, *, as_json: bool) -> None:
    """Show each server's circuit breaker.

    --json: {"circuit_breakers": [{"endpoint", "state", "reason", "level", "retry_after_ms",
    "counts", "config", …}]}, as GET /api/gateway/circuit-breakers gives it.
    """
    with hub_at(home) as hub:
        views = hub.breakers()
    if as_json:
        show_json({"circuit_breakers": views})
    elif views:
        show_table(["server", "state", "level", "again in", "why"], [_row(view) for view in views])
    else:
        print("No servers, so no breakers.")


@breaker.command("open")
@click.argument("name")
@reason_option
@for_option
@json_option
@home_option
def open_(home: Path, name: str, reason: str, ttl_s: int | None, *, as_json: bool) -> None:
    """Let no call through to a server. --json: the breaker, as `breaker list` shows it."""
    _set(home, name, "open", {"reason": reason, "ttl_s": ttl_s}, as_json=as_json)


@breaker.command()
@click.argument("name")
@reason_option
@for_option
@json_option
@home_option
def close(home: Path, name: str, reason: str, ttl_s: int | None, *, as_json: bool) -> None:
    """Let every call through, however often it fails. --json: the breaker."""
    _set(home, name, "close", {"reason": reason, "ttl_s": ttl_s}, as_json=as_json)


@breaker.command()
@click.argument("name")
@json_option
@home_option
def reset(home: Path, name: str, *, as_json: bool) -> None:
    """Back to the rules, as if nothing had failed. --json: the breaker."""
    _set(home, name, "reset", {}, as_json=as_json)


def _set(home: Path, name: str, action: str, word: dict[str, Any], *, as_json: bool) -> None:
    with hub_at(home) as hub:
        view = hub.set_breaker(name, action, word)
    if as_json:
        show_json(view)
        return
    print(f"The breaker of {name} is {view['state'].replace('_', ' ')}.")


def _row(view: dict[str, Any]) -> list[str]:
    wait = view.get("retry_after_ms")
    again = "-" if not wait else f"{wait / 1000:.1f} s"
    reason = view.get("reason") or ""
    return [view["endpoint"], view["state"], str(view.get("level", 0)), again, reason]
