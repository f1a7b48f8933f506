"""`key create`, `key list`, `key limit`, `key revoke`: who may come in, and to what."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at
from agenthub.cli.ending import Failed
from agenthub.cli.options import home_option, json_option, new_home_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import note

DAY_S = 86_400


@click.group()
def key() -> None:
    """Make, show, limit and revoke client keys."""


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a key is offered of what its scopes and servers open."""
    for option in (
        click.option(
            "--names",
            type=click.Choice(["safe", "spec"]),
            help="How long names of tools are: 64 letters, digits, _ and -; or 128, and dots.",
        ),
        click.option(
            "--search",
            type=click.Choice(["on", "off", "auto"]),
            help="Offer search_tools and call_tool instead of the list; auto: if it is long.",
        ),
        click.option(
            "--read-only/--no-read-only",
            default=None,
            help="Only tools that are known to change nothing.",
        ),
        click.option("--team", metavar="NAME", help="Whose budget it shares with other keys."),
        click.option(
            "--model", "models", multiple=True, metavar="GLOB",
            help="The only models that it may ask, as 'gpt-*' or 'groq/*'; may be repeated.",
        ),
        click.option(
            "--view", "views", multiple=True, metavar="NAME",
            help="The only views that it sees, and all that it sees; may be repeated.",
        ),
        click.option(
            "--deny", multiple=True, metavar="GLOB", help="Not these, as 'files__write_*'."
        ),
        click.option(
            "--allow", multiple=True, metavar="GLOB",
            help="Only these tools, prompts and resources, as 'files__*'; may be repeated.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["tools", "llm", "read", "ingest", "admin"]),
    help="What it opens; may be repeated. Without: tools, llm (models) and read.",
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
@terms_options
@json_option
@new_home_option
def create(
    home: Path, name: str, scopes: tuple[str, ...], endpoints: tuple[str, ...], days: int | None,
    *, as_json: bool, **terms: Any,
) -> None:  # fmt: skip
    """Make a key. It is shown this once.

    --json: {"key": the secret, "id", "name", "scopes", "endpoints", "expires_at", "terms", …}.
    """
    wanted: dict[str, Any] = {"name": name, "terms": _with_terms({}, terms)}
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
    "revoked", "terms"}]}; times in seconds since 1970.
    """
    with hub_at(home) as hub:
        keys = hub.keys()
    if as_json:
        show_json({"keys": keys})
    elif keys:
        show_table(
            ["id", "name", "scopes", "servers", "limits", "created", "expires"],
            [_row(row) for row in keys],
        )
    else:
        print("No keys. `agenthub key create NAME` makes one.")


@key.command()
@click.argument("key_id", metavar="ID")
@terms_options
@click.option("--no-limit", is_flag=True, help="Take back all limits first.")
@json_option
@home_option
def limit(home: Path, key_id: str, *, no_limit: bool, as_json: bool, **terms: Any) -> None:
    """Set what a key may touch, at once. ID is what `key list` shows.

    What is not named stays as it is. --json: the key, as `key list` shows it.
    """
    with hub_at(home) as hub:
        rows = hub.keys()
        known = {row["id"]: row for row in rows}
        if key_id not in known:
            raise Failed("There is no such key; `agenthub key list` shows them.")
        before: dict[str, Any] = {} if no_limit else known[key_id]["terms"]
        row = hub.set_key_terms(key_id, _with_terms(before, terms))
    if as_json:
        show_json(row)
    else:
        print(f"{key_id}: {_limits(row)}")


def _with_terms(before: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The terms, with what the options say."""
    tools, terms = dict(before.get("tools", {})), dict(before)
    for name in ("allow", "deny"):
        if options[name]:
            tools[name] = list(dict.fromkeys(options[name]))
    if options["read_only"] is not None:
        tools["read_only"] = options["read_only"]
    if options["views"]:
        terms["views"] = list(dict.fromkeys(options["views"]))
    if options["models"]:
        terms["models"] = list(dict.fromkeys(options["models"]))
    for name in ("search", "names", "team"):
        if options[name] is not None:
            terms[name] = options[name]
    return {**terms, "tools": tools} if tools else terms


@key.command()
@click.argument("key_id", metavar="ID")
@json_option
@home_option
def revoke(home: Path, key_id: str, *, as_json: bool) -> None:
    """End a key at once. ID is what `key list` shows. --json: {"id", "status": "revoked"}."""
    with hub_at(home) as hub:
        hub.revoke_key(key_id)
    if as_json:
        show_json({"id": key_id, "status": "revoked"})
    else:
        print(f"Revoked {key_id}.")


def _row(row: dict[str, Any]) -> list[str]:
    expires = row.get("expires_at")
    ends = "revoked" if row.get("revoked") else "never" if expires is None else _day(expires)
    seen = row.get("endpoints")
    servers = "all" if seen is None else " ".join(seen) or "none"
    return [
        row["id"], row["name"], " ".join(row["scopes"]), servers, _limits(row),
        _day(row["created_at"]), ends,
    ]  # fmt: skip


def _limits(row: dict[str, Any]) -> str:
    """What the key is held to, in short."""
    terms = row["terms"]
    tools = terms.get("tools", {})
    said = [
        *tools.get("allow", ()),
        *(f"not {glob}" for glob in tools.get("deny", ())),
        *(["read-only"] if tools.get("read_only") else ()),
        *(f"view {name}" for name in terms.get("views") or ()),
        *(f"model {name}" for name in terms.get("models") or ()),
        *([f"team {terms['team']}"] if terms.get("team") else ()),
        *(["search"] if terms.get("search", "off") != "off" else ()),
    ]
    return ", ".join(said) or "none"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
