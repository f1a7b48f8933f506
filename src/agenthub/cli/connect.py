"""`connect`: the entry that lets a client find the hub, printed or written into its own file.

The entry holds a key that is made for it (scopes tools and read; with `--face` for that server
alone), so that the admin token goes nowhere and each client can be shut out by itself. An entry
that starts `agenthub stdio` needs none.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import click

from agenthub.cli import own_file, toml_table
from agenthub.cli.access import HubAccess, hub_at
from agenthub.cli.address import configured
from agenthub.cli.clients import CLIENTS, Client, Place, token_of
from agenthub.cli.ending import Failed
from agenthub.cli.options import json_option, new_home_option
from agenthub.cli.output import show_json
from agenthub.cli.requests import Json, Request
from agenthub.cli.terminal import note


class Wish(NamedTuple):
    """What was asked for."""

    called: str
    """The client, as the command line names it."""
    client: Client
    file: Path
    face: str | None
    url: str | None
    sse: bool
    """By the older transport."""

    @property
    def name(self) -> str:
        """The entry's."""
        return f"agenthub-{self.face}" if self.face else "agenthub"

    @property
    def path(self) -> tuple[str, str]:
        return self.client.section, self.name

    @property
    def key_name(self) -> str:
        return f"{self.called} {self.face}" if self.face else self.called


class Entry(NamedTuple):
    """The entry, and the key that was made for it; none if an older one is good."""

    facts: Json
    key_id: str = ""


@click.command(
    epilog="""\b
Examples:
  agenthub connect cursor              print the entry
  agenthub connect claude-code --write put it into ~/.claude.json
  agenthub connect codex --face git    only the server git, with its tools' own names"""
)
@click.argument("client", type=click.Choice(list(CLIENTS)), metavar="CLIENT")
@click.option("--write", is_flag=True, help="Put it into the client's own file, with a backup.")
@click.option("--face", metavar="SERVER", help="One server alone, with its tools' own names.")
@click.option("--sse", is_flag=True, help="The address for clients that only know HTTP+SSE.")
@click.option("--stdio", "by_stdio", is_flag=True, help="An entry that starts `agenthub stdio`.")
@click.option("--url", metavar="URL", help="The hub's address, if clients reach it by another.")
@json_option
@new_home_option
def connect(home: Path, client: str, *, write: bool, as_json: bool, **how: Any) -> None:
    """Print the entry that connects a client, or write it into the client's own file.

    CLIENT: claude-code, claude-desktop, cursor, vscode, copilot, codex, gemini, windsurf or zed.
    The entry gets a key of its own, which `agenthub key revoke` ends.

    --json: {"client", "file", "section", "name", "entry", "status", "backup", "key_id"}; status is
    printed, written or unchanged.
    """  # fmt: skip
    wish = _wish(client, **how)
    if how["by_stdio"] or wish.client.by_url is None:
        outcome = _outcome(wish, Entry(_by_command(wish.client, home)), write=write)
    else:
        with hub_at(home) as hub:
            outcome = _with_key(hub, wish, home, write=write)
            runs = hub.url is not None
        if not (runs or as_json):
            note("No hub runs with this home now; `agenthub serve` starts it.")
    if as_json:
        show_json(outcome)
    else:
        _show(wish, outcome)


def _wish(called: str, face: str | None, url: str | None, *, sse: bool, by_stdio: bool) -> Wish:
    """Raises click.UsageError for what does not go together."""
    client = CLIENTS[called]
    if (by_stdio or client.by_url is None) and (face or url or sse):
        raise click.UsageError(
            "An entry that starts `agenthub stdio` has no --face, no --url and no --sse."
        )
    if sse and client.by_sse is None:
        raise click.UsageError(f"{client.title} knows no HTTP+SSE.")
    place = Place(Path.home(), os.environ, sys.platform)
    return Wish(called, client, client.file(place), face, url, sse)


def _by_command(client: Client, home: Path) -> Json:
    program = Path(sys.executable).with_name("agenthub")
    words = ["stdio", "--home", str(home)]
    if program.exists():
        return client.by_command(str(program), words)
    return client.by_command(sys.executable, ["-m", "agenthub", *words])


def _with_key(hub: HubAccess, wish: Wish, home: Path, *, write: bool) -> Json:
    if wish.face:
        hub.endpoint(wish.face)
    entry = _by_url(hub, wish, home, write=write)
    try:
        return _outcome(wish, entry, write=write)
    except Failed:
        if entry.key_id:
            hub.revoke_key(entry.key_id)
        raise


def _by_url(hub: HubAccess, wish: Wish, home: Path, *, write: bool) -> Entry:
    """The entry with the key that stands in the file, if that is good, or with a new one."""
    base = (wish.url or hub.url or configured(home)).rstrip("/").removesuffix("/mcp")
    door = f"{base}/sse" if wish.sse else f"{base}/mcp"
    url = f"{door}/{wish.face}" if wish.face else door
    token, key_id = (_kept_token(hub, wish) if write else ""), ""
    if not token:
        wanted: Json = {"name": wish.key_name, "scopes": ["tools", "read"]}
        if wish.face:
            wanted["endpoints"] = [wish.face]
        made = hub.create_key(wanted)
        token, key_id = made["key"], made["id"]
    make = wish.client.by_sse if wish.sse else wish.client.by_url
    assert make is not None
    return Entry(make(url, {"Authorization": f"Bearer {token}"}), key_id)


def _kept_token(hub: HubAccess, wish: Wish) -> str:
    """The key of the entry that is there, if it still opens the hub; else empty."""
    found = own_file.find(wish.file)
    entry = _entry_there(wish, found.text)
    token = token_of(entry)
    if not token:
        return ""
    if hub.url is None:
        # Nobody can try the key, but it says which it is: ah_<id>_<secret>.
        rows = hub.keys()
        alive = any(f"_{row['id']}_" in token and not row["revoked"] for row in rows)
        return token if alive else ""
    from agenthub.cli.remote import RemoteHub  # noqa: PLC0415

    answer = RemoteHub(hub.url, token).send(Request("GET", "/api/tools"))
    return token if answer.status == 200 else ""


def _entry_there(wish: Wish, text: str) -> Any:
    part: Any = _loads(wish, text)
    for key in wish.path:
        part = cast("Json", part).get(key) if isinstance(part, dict) else None
    return part


def _loads(wish: Wish, text: str) -> Any:
    if _is_toml(wish):
        return toml_table.loads(text, str(wish.file))
    from agenthub.cli.jsonc import loads  # noqa: PLC0415

    return loads(text, str(wish.file))


def _is_toml(wish: Wish) -> bool:
    return wish.file.suffix == ".toml"


def _outcome(wish: Wish, entry: Entry, *, write: bool) -> Json:
    status, backup = _write(wish, entry.facts) if write else ("printed", None)
    return {
        "client": wish.called,
        "file": str(wish.file),
        "section": wish.client.section,
        "name": wish.name,
        "entry": entry.facts,
        "status": status,
        "backup": None if backup is None else str(backup),
        "key_id": entry.key_id or None,
    }


def _write(wish: Wish, facts: Json) -> tuple[str, Path | None]:
    found = own_file.find(wish.file)
    if _entry_there(wish, found.text) == facts:
        return "unchanged", None
    if _is_toml(wish):
        text = toml_table.with_table(found.text, wish.path, facts, str(wish.file))
    else:
        from agenthub.cli.jsonc import with_member  # noqa: PLC0415

        text = with_member(found.text, wish.path, facts, str(wish.file))
    backup = own_file.replace(found, text, private=bool(token_of(facts)))
    return "written", backup


def _show(wish: Wish, outcome: Json) -> None:
    if outcome["status"] == "printed":
        print(_snippet(wish, outcome["entry"]))
        note(f"This belongs into {wish.file}; --write puts it there.")
    elif outcome["status"] == "unchanged":
        print(f"{wish.file} has it already.")
        return
    else:
        print(f"Wrote {wish.name} into {wish.file}. {wish.client.after}")
        if outcome["backup"]:
            note(f"What was there is in {outcome['backup']}.")
    if outcome["key_id"]:
        note(f"It holds a key of its own; `agenthub key revoke {outcome['key_id']}` ends it.")


def _snippet(wish: Wish, facts: Json) -> str:
    if _is_toml(wish):
        return toml_table.render(wish.path, facts).rstrip()
    return json.dumps(_nested(wish.path, facts), indent=2, ensure_ascii=False)


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value
