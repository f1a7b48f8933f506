"""`add`, `remove`, `list`, `enable`, `disable`: which servers the hub has."""

from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import HubAccess, hub_at, new
from agenthub.cli.address import configured, is_own
from agenthub.cli.ending import Failed
from agenthub.cli.finding import describe, mark, sign_in
from agenthub.cli.options import home_option, json_option, new_home_option
from agenthub.cli.output import show_json
from agenthub.cli.record import Wanted, record
from agenthub.cli.table import show_table
from agenthub.cli.terminal import progress

PROBE_S = 2
"""So long `add` looks at the server; it is saved before."""


@click.command(
    epilog="""\b
Examples:
  agenthub add docs --url https://docs.example.org/mcp --header 'Authorization: Bearer ${TOKEN}'
  agenthub add git -- uvx mcp-server-git --repository ~/src/project
  agenthub add openai --llm openai          with the key in OPENAI_API_KEY of the hub
A value with ${NAME} or ${file:/path} in it is filled in when the server is connected, from the
hub's environment, and is kept nowhere."""
)
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--url", metavar="URL", help="The address of a server: Streamable HTTP, or HTTP+SSE.")
@click.option(
    "--transport",
    type=click.Choice(["auto", "streamable-http", "sse"]),
    help="What is spoken at the address, if it is not to be found out (auto).",
)
@click.option(
    "--llm",
    metavar="PRESET",
    help="A provider of language models that the hub knows: openai, anthropic, gemini, openrouter,"
    " groq, mistral, deepseek, xai, ollama, vllm, llama.cpp, demo.",
)
@click.option(
    "--wire",
    "wires",
    multiple=True,
    type=click.Choice(["chat", "responses", "messages", "embeddings", "gemini"]),
    help="What a provider at --url speaks, if it is none of these; may be repeated.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="GLOB",
    help="Models that are asked there when their provider is not named, as 'llama-*'.",
)
@click.option("--free", is_flag=True, help="Its models cost nothing: no budget blocks them.")
@click.option(
    "--env", multiple=True, metavar="K=V", help="A variable for the command; K: the hub's own K."
)
@click.option("--header", "headers", multiple=True, metavar="'K: V'", help="Sent to the address.")
@click.option("--oauth", is_flag=True, help="A person signs in to it: see `agenthub login`.")
@click.option("--client-id", metavar="ID", help="Who the hub is to the authorization server.")
@click.option(
    "--client-secret",
    metavar="'${NAME}'",
    help="With these two and without --oauth the hub signs in by itself (client_credentials).",
)
@click.option("--issuer", metavar="URL", help="The authorization server; needed with a secret.")
@click.option(
    "--per-caller",
    is_flag=True,
    help="Each caller's calls go as its own: it signs in, or with a secret its token is exchanged.",
)
@click.option(
    "--fallback",
    "fallbacks",
    multiple=True,
    metavar="NAME|URL",
    help="Who answers when this one is down; in this order.",
)
@click.option("--fallback-url", metavar="URL", help="As --fallback, by its address only.")
@click.option("--rps", type=float, metavar="N", help="Calls per second (5).")
@click.option("--burst", type=int, metavar="N", help="Calls that may come at once (10).")
@click.option("--no-limit", is_flag=True, help="No rate limit.")
@click.option(
    "--trust", is_flag=True, help="Believe the server when it says that a tool may run twice."
)
@click.option(
    "--pinning",
    type=click.Choice(["allow", "flag", "quarantine"]),
    help="What becomes of a tool that changes, or is new, later (quarantine).",
)
@click.option("--cwd", metavar="DIR", help="The command's working directory.")
@click.option("--concurrency", type=int, metavar="N", help="Calls in flight (32; a command: 8).")
@click.option("--timeout", "timeout_s", type=float, metavar="S", help="Of a whole call (60 s).")
@click.option("--replace", is_flag=True, help="Put it in the place of one with this name.")
@json_option
@new_home_option
def add(home: Path, *, replace: bool, as_json: bool, **options: Any) -> None:
    """Add a server: NAME --url URL, NAME -- COMMAND and its arguments, or NAME --llm PRESET.

    It is saved first, then looked at for two seconds; a server that is sick is kept.
    """  # fmt: skip
    made = record(Wanted(**options))
    name = made["name"]
    with hub_at(home, connect=[name]) as hub:
        if is_own(made.get("url") or "", hub.url or configured(home)):
            raise Failed(f"{made['url']} is the hub itself, which would call itself without end.")
        view = hub.replace_endpoint(made) if replace else new(hub.add_endpoint, made)
        with progress(f"Saved {name}; looking at it"):
            found = _look(hub, name)
    if as_json:
        show_json({"endpoint": view, "test": found})
    else:
        print(f"Saved {name} ({view.get('transport', 'server')}). {mark(found)}: {describe(found)}")


def _look(hub: HubAccess, name: str) -> dict[str, Any]:
    """What it is like. The server is saved by now, so that nothing here is a failure."""
    try:
        return hub.test([name], PROBE_S)[name]
    except Failed as failed:
        return {"ok": False, "problem": str(failed)}


@click.command()
@click.argument("name")
@json_option
@home_option
def remove(home: Path, name: str, *, as_json: bool) -> None:
    """Remove a server, with what the hub kept of it; the call log stays.

    --json: {"name", "status": "removed"}.
    """
    with hub_at(home) as hub:
        hub.delete_endpoint(name)
    if as_json:
        show_json({"name": name, "status": "removed"})
    else:
        print(f"Removed {name}.")


@click.command("list")
@json_option
@home_option
def list_(home: Path, *, as_json: bool) -> None:
    """Show the servers and how they are.

    --json: {"endpoints": [{"name", "config", "transport", "health", "reason", "hint", "era",
    "tools_count", "breaker", …}]}, as GET /api/endpoints gives it.
    """
    with hub_at(home) as hub:
        views = hub.endpoints()
        runs = hub.url is not None
    if as_json:
        show_json({"endpoints": views})
    elif views:
        rows = [_row(view, runs=runs) for view in views]
        show_table(["name", "transport", "health", "tools", "era", "server"], rows)
    else:
        print("No servers. `agenthub add` adds one; `agenthub import` takes a client's.")


def _row(view: dict[str, Any], *, runs: bool) -> list[str]:
    config: dict[str, Any] = view["config"]
    health = view["health"] if runs else "not running"
    if not config.get("enabled", True):
        health = "off"
    is_model = config.get("llm") is not None
    listed = view.get("listed_at_s") is not None and not is_model
    place = config.get("url") or " ".join(config.get("command") or ()) or "in the hub"
    reason = (view.get("reason") or sign_in(view)) if runs else ""
    return [
        view["name"],
        view["transport"],
        health,
        str(view["tools_count"]) if listed else "-",
        view.get("era") or "-",
        f"{place} ({reason})" if reason else place,
    ]


@click.command()
@click.argument("name")
@json_option
@home_option
def enable(home: Path, name: str, *, as_json: bool) -> None:
    """Switch a server on again. --json: the server, as `list` shows it."""
    _switch(home, name, on=True, as_json=as_json)


@click.command()
@click.argument("name")
@json_option
@home_option
def disable(home: Path, name: str, *, as_json: bool) -> None:
    """Switch a server off: not started, not listed, not called; its settings stay.

    --json: the server, as `list` shows it.
    """
    _switch(home, name, on=False, as_json=as_json)


def _switch(home: Path, name: str, *, on: bool, as_json: bool) -> None:
    with hub_at(home) as hub:
        config = hub.endpoint(name)["config"]
        view = hub.replace_endpoint({**config, "enabled": on})
    if as_json:
        show_json(view)
    else:
        print(f"{name} is {'on' if on else 'off'}.")
