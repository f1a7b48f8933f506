"""`key create`, `key list`, `key revoke`: who may come in."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import note

DAY_S = 86_400


@click.group()
def key() -> None:
    """Make, show and revoke client keys."""


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["tools", "read", "admin"]),
    help="What it opens; may be repeated. Without: tools and read.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="NAME",
    help="The only servers that it sees; may be repeated. Without: all.",
)
@click.option(
    "--expires", "days", type=click.IntRange(1, 3660), metavar="DAYS", help="Without: never."
)
@json_option
@home_option
def create(
    home: Path, name: str, scopes: tuple[str, ...], endpoints: tuple[str, ...], days: int | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Make a key. It is shown this once.

    --json: {"key": the secret, "id", "name", "scopes", "endpoints", "expires_at", …}.
    """
    wanted: dict[str, Any] = {"name": name}
    if scopes:
        wanted["scopes"] = list(dict.fromkeys(scopes))
    if endpoints:
        wanted["endpoints"] = list(dict.fromkeys(endpoints))
    if days is not None:
        wanted["ttl_s"] = days * DAY_S
    with hub_at(home) as hub:
        made = hub.create_key(wanted)
    if as_json:
        show_json({"key": made["key"], **{k: v for k, v in made.items() if k != "key"}})
    else:
        print(made["key"])
        note(f"Key {made['id']} for {name}; it is shown this once.")


@key.command("list")
@json_option
@home_option
def list_keys(home: Path, *, as_json: bool) -> None:
    """Show the keys, not their secrets.

    --json: {"keys": [{"id", "name", "scopes", "endpoints", "created_at", "expires_at",
    "revoked"}]}; times in seconds since 1970.
    """
    with hub_at(home) as hub:
        keys = hub.keys()
    if as_json:
        show_json({"keys": keys})
    elif keys:
        show_table(
            ["id", "name", "scopes", "servers", "created", "expires"], [_row(row) for row in keys]
        )
    else:
        print("No keys. `agenthub key create NAME` makes one.")


@key.command()
@click.argument("key_id", metavar="ID")
@home_option
def revoke(home: Path, key_id: str) -> None:
    """End a key at once. ID is what `key list` shows."""
    with hub_at(home) as hub:
        hub.revoke_key(key_id)
    print(f"Revoked {key_id}.")


def _row(row: dict[str, Any]) -> list[str]:
    expires = row.get("expires_at")
    ends = "revoked" if row.get("revoked") else "never" if expires is None else _day(expires)
    seen = row.get("endpoints")
    servers = "all" if seen is None else " ".join(seen) or "none"
    return [row["id"], row["name"], " ".join(row["scopes"]), servers, _day(row["created_at"]), ends]


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
