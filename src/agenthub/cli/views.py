"""`view add`, `view list`, `view show`, `view remove`: virtual servers of chosen tools."""

from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import hub_at, new
from agenthub.cli.options import home_option, json_option, new_home_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table


@click.group()
def view() -> None:
    """Make, show and remove views: virtual servers of chosen tools."""


@view.command()
@click.argument("name")
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="[OWN=]SERVER__TOOL",
    help="A tool or prompt, under a name of the view's own if one is given; may be repeated.",
)
@click.option(
    "--describe",
    "descriptions",
    multiple=True,
    metavar="OWN=TEXT",
    help="A description of the view's own for one of these names.",
)
@click.option(
    "--allow", multiple=True, metavar="GLOB", help="Show these too, as 'web__*'; may be repeated."
)
@click.option("--deny", multiple=True, metavar="GLOB", help="Do not show these.")
@click.option("--read-only", is_flag=True, help="Only tools that are known to change nothing.")
@click.option(
    "--search",
    type=click.Choice(["on", "off", "auto"]),
    default="off",
    help="Offer search_tools and call_tool instead of the list; auto: if it is long.",
)
@click.option("--instructions", default="", metavar="TEXT", help="Told to clients.")
@click.option("--replace", is_flag=True, help="Put it in the place of one with this name.")
@json_option
@new_home_option
def add(
    home: Path, name: str, *, replace: bool, as_json: bool, tools: tuple[str, ...],
    descriptions: tuple[str, ...], **options: Any,
) -> None:  # fmt: skip
    """Make a view. Clients reach it at /mcp/v/NAME, or by `agenthub stdio --view NAME`."""
    made = {"name": name, **options, **_chosen(tools, descriptions)}
    made["allow"] = [*options["allow"], *made["allow"]]
    with hub_at(home) as hub:
        known = {one["name"] for one in hub.views()} if replace else set[str]()
        shown = hub.replace_view(made) if name in known else new(hub.add_view, made)
    if as_json:
        show_json(shown)
    else:
        print(f"Saved the view {name}: /mcp/v/{name}.")


def _chosen(tools: tuple[str, ...], descriptions: tuple[str, ...]) -> dict[str, Any]:
    """The view's own names, and what it shows under its full name."""
    said = dict(_pair(text, "--describe") for text in descriptions)
    names: dict[str, Any] = {}
    for text in tools:
        own, target = _pair(text, "--tool") if "=" in text else ("", text)
        if "__" not in target:
            raise click.UsageError(f"--tool: expected [OWN=]SERVER__TOOL, got {text!r}")
        if own:
            names[own] = {"target": target, "description": said.pop(own, None)}
    if said:
        raise click.UsageError(f"--describe: no --tool {next(iter(said))}=… is given")
    return {"names": names, "allow": [text for text in tools if "=" not in text]}


def _pair(text: str, option: str) -> tuple[str, str]:
    own, found, rest = text.partition("=")
    if not found or not own or not rest:
        raise click.UsageError(f"{option}: expected OWN=…, got {text!r}")
    return own, rest


@view.command("list")
@json_option
@home_option
def list_views(home: Path, *, as_json: bool) -> None:
    """Show the views. --json: {"views": […]}, as GET /api/views gives it."""
    with hub_at(home) as hub:
        views = hub.views()
    if as_json:
        show_json({"views": views})
    elif views:
        show_table(["name", "shows", "search"], [_row(one) for one in views])
    else:
        print("No views. `agenthub view add NAME --tool …` makes one.")


@view.command()
@click.argument("name")
@json_option
@home_option
def show(home: Path, name: str, *, as_json: bool) -> None:
    """Show a view, as JSON with and without --json."""
    del as_json
    with hub_at(home) as hub:
        show_json(hub.view(name))


@view.command()
@click.argument("name")
@json_option
@home_option
def remove(home: Path, name: str, *, as_json: bool) -> None:
    """Remove a view; the servers behind it stay. --json: {"name", "status": "removed"}."""
    with hub_at(home) as hub:
        hub.delete_view(name)
    if as_json:
        show_json({"name": name, "status": "removed"})
    else:
        print(f"Removed the view {name}.")


def _row(one: dict[str, Any]) -> list[str]:
    shows = [*one.get("names", {}), *one.get("allow", ())]
    more = ["read-only"] if one.get("read_only") else []
    return [one["name"], ", ".join([*shows, *more]), one.get("search", "off")]
