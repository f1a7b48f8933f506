"""`key create`, `list`, `limit`, `rotate`, `revoke`: who may come in, and to what."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at
from agenthub.cli.ending import Failed
from agenthub.cli.options import home_option, json_option, new_home_option
from agenthub.cli.output import show_json
from agenthub.cli.rate import Rate, Span
from agenthub.cli.table import show_table
from agenthub.cli.terminal import note
from agenthub.domain.caller_rate import rate_words

DAY_S = 86_400


@click.group()
def key() -> None:
    """Make, show, limit, rotate and revoke client keys."""


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a key is offered of what its scopes and servers open."""
    for option in (
        click.option(
            "--burst", type=click.IntRange(1), metavar="N",
            help="Calls that may come at once (10); with --rate.",
        ),
        click.option(
            "--rate", type=Rate(), metavar="N/UNIT",
            help="Calls that it may make by all doors together, as 60/m, 5/s or 1000/d; or none.",
        ),
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
@click.argument("said", metavar="KEY")
@terms_options
@click.option("--no-limit", is_flag=True, help="Take back all limits first.")
@json_option
@home_option
def limit(home: Path, said: str, *, no_limit: bool, as_json: bool, **terms: Any) -> None:
    """Set what a key may touch and how often, at once. KEY is its id, or its name.

    What is not named stays as it is. --json: the key, as `key list` shows it.
    """
    with hub_at(home) as hub:
        found = _find(hub.keys(), said)
        before: dict[str, Any] = {} if no_limit else found["terms"]
        row = hub.set_key_terms(found["id"], _with_terms(before, terms))
    if as_json:
        show_json(row)
    else:
        print(f"{row['id']}: {_limits(row)}")


@key.command()
@click.argument("said", metavar="KEY")
@click.option(
    "--grace", "grace_s", type=Span(), default="0s", metavar="SPAN",
    help="How long the secret that it has stays good beside the new one: 10m, up to 24h (0s).",
)  # fmt: skip
@json_option
@home_option
def rotate(home: Path, said: str, grace_s: int, *, as_json: bool) -> None:
    """Give a key a new secret. It is shown this once; KEY is its id, or its name.

    The key stays the same: its scopes, limits, budgets and usage. --json: {"key": the secret,
    "id", "name", "former_until": when the secret before ends, or null, …}, as `key create`.
    """
    with hub_at(home) as hub:
        made = hub.rotate_key(_find(hub.keys(), said)["id"], grace_s)
    if as_json:
        show_json({"key": made["key"], **{k: v for k, v in made.items() if k != "key"}})
    else:
        print(made["key"])
        ends = f"in {grace_s} s" if grace_s else "now"
        note(
            f"Key {made['id']}, {made['name']}; it is shown this once. The one before ends {ends}."
        )


def _find(rows: Sequence[dict[str, Any]], said: str) -> dict[str, Any]:
    """The key of this id; else the only one of this name that is not revoked."""
    for row in rows:
        if row["id"] == said:
            return row
    named = [row for row in rows if row["name"] == said and not row.get("revoked")]
    if len(named) > 1:
        ids = ", ".join(row["id"] for row in named)
        raise Failed(f"There are {len(named)} keys of this name; say which: {ids}.")
    if not named:
        raise Failed("There is no such key; `agenthub key list` shows them.")
    return named[0]


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
    if (limit := _rate_limit(before.get("rate_limit"), options["rate"], options["burst"])) is None:
        terms.pop("rate_limit", None)
    else:
        terms["rate_limit"] = limit
    return {**terms, "tools": tools} if tools else terms


def _rate_limit(
    before: dict[str, Any] | None, rate: float | None, burst: int | None
) -> dict[str, Any] | None:
    """The limit that it had, with what is said; None: there is none."""
    if rate == 0:
        if burst is not None:
            raise click.UsageError("--rate none leaves no room for --burst.")
        return None
    given = {key: value for key, value in (("rps", rate), ("burst", burst)) if value is not None}
    if before is None and burst is not None and rate is None:
        raise click.UsageError("--burst: expected --rate beside it.")
    return {**(before or {}), **given} if before or given else None


@key.command()
@click.argument("said", metavar="KEY")
@json_option
@home_option
def revoke(home: Path, said: str, *, as_json: bool) -> None:
    """End a key at once. KEY is its id, or its name. --json: {"id", "status": "revoked"}."""
    with hub_at(home) as hub:
        key_id = _find(hub.keys(), said)["id"]
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
    tools, rate = terms.get("tools", {}), terms.get("rate_limit")
    said = [
        *([f"{rate_words(rate['rps'])}, {rate['burst']} at once"] if rate else ()),
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
