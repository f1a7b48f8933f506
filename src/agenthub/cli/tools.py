"""`tools` and `call`: what the servers offer, and using it."""

import json
import sys
from pathlib import Path
from typing import Any, cast

import click

from agenthub.cli.access import HubAccess, hub_at
from agenthub.cli.approval import oddities, show_pending
from agenthub.cli.arguments import Schema, arguments, object_of
from agenthub.cli.content import text_of
from agenthub.cli.ending import FAILED, Failed
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import note, plain, progress


@click.command()
@click.argument("server", required=False)
@click.option("--pending", is_flag=True, help="Those that wait for approval instead.")
@json_option
@home_option
def tools(home: Path, server: str | None, *, pending: bool, as_json: bool) -> None:
    """Show the tools of all servers, or of one.

    --json: {"tools": [{"endpoint", "name", "unavailable", "standing", "suspicions",
    "definition"}]}; `unavailable` says why a call would fail now. With --pending: {"pending":
    [{"endpoint", "name", "standing", "withheld", "digest", "suspicions", "diff", …}]}.
    """
    if pending:
        with hub_at(home) as hub:
            show_pending(hub.pending(server), as_json=as_json)
        return
    with hub_at(home, connect=None if server is None else [server]) as hub:
        views = hub.tools(server)
    if as_json:
        show_json({"tools": views})
    elif views:
        show_table(["server", "tool", "takes", "what it does"], [_row(view) for view in views])
    else:
        print("No tools. `agenthub doctor` says whether a server is sick.")


def _row(view: dict[str, Any]) -> list[str]:
    definition = object_of(view["definition"])
    schema = object_of(definition.get("inputSchema"))
    required: Any = schema.get("required")
    needed = cast("list[Any]", required) if isinstance(required, list) else []
    properties = object_of(schema.get("properties"))
    takes = " ".join(name if name in needed else f"[{name}]" for name in properties)
    does = str(definition.get("description") or definition.get("title") or "")
    first = does.strip().partition("\n")[0]
    why = ", ".join(filter(None, [view.get("unavailable"), oddities(view)]))
    return [view["endpoint"], view["name"], takes, f"({why}) {first}" if why else first]


@click.command(
    epilog="""\b
Examples:
  agenthub call calculator add --arg a=2 --arg b=3
  agenthub call git git_log --json '{"repo_path": ".", "max_count": 3}'"""
)
@click.argument("server")
@click.argument("tool")
@click.option(
    "--arg",
    "words",
    multiple=True,
    metavar="K=V",
    help="An argument; numbers, truths and JSON as the tool's schema says.",
)
@click.option("--json", "text", metavar="'{…}'", help="All arguments as JSON; - reads stdin.")
@click.option("--raw", is_flag=True, help="Print the whole result as JSON.")
@home_option
def call(
    home: Path, server: str, tool: str, words: tuple[str, ...], text: str | None, *, raw: bool
) -> int:
    """Call a tool, and print what it says.

    Exit code 1 if the tool says that it failed, or the call did not reach it.
    """  # fmt: skip
    base = _base(text)
    with hub_at(home, connect=[server]) as hub:
        schema: Schema = _schema(hub, server, tool) if words else {}
        made = arguments(words, schema, base)
        with progress(f"Calling {tool} of {server}"):
            answer = hub.call(server, tool, made)
    served_by = answer.get("served_by")
    if served_by and served_by != server:
        note(f"Answered by {served_by}, for {server} could not.")
    result: dict[str, Any] = answer["result"]
    failed = bool(result.get("isError"))
    if raw:
        show_json(result)
    else:
        _show(text_of(result), to_stderr=failed)
    return FAILED if failed else 0


def _show(text: str, *, to_stderr: bool) -> None:
    stream = sys.stderr if to_stderr else sys.stdout
    # A pipe gets what the tool said, byte for byte; a terminal would obey parts of it.
    print(plain(text) if stream.isatty() else text, file=stream)


def _base(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        base = json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--json: not JSON: {error}.") from None
    if not isinstance(base, dict):
        raise click.UsageError("--json: expected an object, as '{\"a\": 2}'.")
    return base  # pyright: ignore[reportUnknownVariableType]


def _schema(hub: HubAccess, server: str, tool: str) -> Schema:
    """The tool's schema; empty when its server was never listed, so that nothing is known."""
    views = hub.tools(server)
    for view in views:
        if view["name"] == tool:
            return object_of(object_of(view["definition"]).get("inputSchema"))
    if not views:
        return {}
    from agenthub.cli.hint import did_you_mean  # noqa: PLC0415 - only for this message

    near = did_you_mean(tool, [view["name"] for view in views])
    raise Failed(
        f"{server} has no tool {tool!r}. {near or f'`agenthub tools {server}` shows them.'}"
    )
