"""`approve`: let changed and new tools be used, once their definitions were looked at."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import HubAccess, hub_at
from agenthub.cli.ending import Failed
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import one_line, paint, plain

COLOURS = {"+": "green", "-": "red", "@": "dim"}
"""Of a line of a diff, by its first character."""

Json = dict[str, Any]


@click.command(
    epilog="""\b
Examples:
  agenthub approve git              shows what is other than what was approved
  agenthub approve git git_log      shows it of this tool, and approves it
  agenthub approve git --all        the same of all"""
)
@click.argument("server")
@click.argument("names", metavar="[TOOL]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All that wait.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@json_option
@home_option
def approve(
    home: Path, server: str, names: tuple[str, ...], *, every: bool, yes: bool, as_json: bool
) -> None:
    """Show how a server's tools differ from what was approved, and approve those named.

    What is approved is what is shown: a tool that changes once more in between is refused.

    --json: {"approved": […], "pending": […]}, each as `tools --pending` shows it.
    """
    with hub_at(home) as hub:
        waiting = hub.pending(server)
        chosen = _chosen(waiting, names)
        if not as_json:
            _show(server, chosen)
        wanted = chosen if names or every else []
        if wanted:
            question = f"Approve {len(wanted)} of {server}?"
            if is_terminal() and not yes and not click.confirm(question, err=as_json):
                raise Failed("Nothing was approved.")
            _approve(hub, wanted)
    if as_json:
        show_json({"approved": wanted, "pending": [view for view in waiting if view not in wanted]})
    elif wanted:
        print(f"Approved: {', '.join(sorted({view['name'] for view in wanted}))}.")
    elif waiting:
        print(f"Approve them by name, or all: `agenthub approve {server} --all`.")


def _approve(hub: HubAccess, wanted: Sequence[Json]) -> None:
    for endpoint in sorted({view["endpoint"] for view in wanted}):
        of = [view for view in wanted if view["endpoint"] == endpoint]
        hub.approve(endpoint, {view["name"]: view["digest"] for view in of})


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _chosen(waiting: Sequence[Json], names: Sequence[str]) -> list[Json]:
    """Those named, or all. Raises Failed for a name that does not wait."""
    for name in names:
        if name not in {view["name"] for view in waiting}:
            raise Failed(
                f"{name} does not wait for approval. `agenthub tools --pending` shows all."
            )
    return [view for view in waiting if not names or view["name"] in names]


def _show(server: str, views: Sequence[Json]) -> None:
    for view in views:
        head = f"{view['endpoint']} {view['name']}: {_state(view)}"
        print(paint(one_line(head), "bold"))
        for line in view["diff"].split("\n"):
            print(paint(plain(line), COLOURS.get(line[:1], "")))
        print()
    if not views:
        print(f"Nothing of {server} waits for approval.")


def show_pending(views: Sequence[Json], *, as_json: bool) -> None:
    if as_json:
        show_json({"pending": views})
    elif views:
        rows = [[view["endpoint"], view["name"], _state(view)] for view in views]
        show_table(["server", "tool", "state"], rows)
        print("`agenthub approve SERVER` shows what is other, and approves it.")
    else:
        print("No tool waits for approval.")


def _state(view: Json) -> str:
    facts = [view["standing"], "withheld" if view["withheld"] else "used", *_words(view)]
    return ", ".join(facts)


def oddities(view: Json) -> str:
    """What is odd about a tool that is offered; empty if nothing is."""
    standing = view.get("standing", "approved")
    facts = [] if standing == "approved" else [f"{standing}, not approved"]
    return ", ".join([*facts, *_words(view)])


def _words(view: Json) -> list[str]:
    return [str(one).replace("_", " ") for one in view.get("suspicions") or ()]
