"""What `serve` shows on stdout when the hub is up: where it is, and what to do next."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from agenthub.app import admin_token
from agenthub.outbound.telemetry import escaped
from agenthub.settings import default_home

BOLD, DIM = "1", "2"


class Facts(Struct, frozen=True):
    """What there is to show."""

    url: str
    home: Path
    key: str
    """A client key that was made for this entry, and is shown this once; empty: none was."""
    servers: int
    demo_pid: int | None
    """The process of the demo calculator; None without the demo servers."""


def show(facts: Facts, stream: TextIO) -> None:
    """Print it. Colours for a terminal only; a reader that went away harms nobody."""
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    try:
        print(banner(facts, colour=colour), file=stream, flush=True)
    except OSError:
        # Nobody reads it. What is left in the buffer must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def banner(facts: Facts, *, colour: bool) -> str:
    def paint(text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if colour else text

    token = _shown(facts.home / admin_token.FILE)
    lines = [
        f"AgentHub listens on {paint(facts.url, BOLD)} with {_count(facts.servers)}.",
        f"The admin token is in {token}.",
        "",
        *_entry(facts, paint("(shown this once)", DIM)),
    ]
    if facts.demo_pid is not None:
        lines += ["", "To try it, in another terminal:"]
        lines += [f"  {command}\n      {paint(does, DIM)}" for command, does in _trials(facts)]
    return "\n".join(lines)


def _entry(facts: Facts, once: str) -> list[str]:
    key = facts.key or "${AGENTHUB_KEY}"
    headers = {"Authorization": f"Bearer {key}"}
    entry = {"type": "http", "url": f"{facts.url}/mcp", "headers": headers}
    made = json.dumps({"mcpServers": {"agenthub": entry}}, indent=2)
    if facts.key:
        return [f"The entry for an MCP client, with a key of its own {once}:", made]
    program = _command(facts.home, "connect", "CLIENT")
    return [f"The entry for an MCP client (`{program}` makes one with a new key):", made]


def _trials(facts: Facts) -> list[tuple[str, str]]:
    def add(a: int, b: int) -> str:
        words = ("call", "calculator", "add", "--arg", f"a={a}", "--arg", f"b={b}")
        return _command(facts.home, *words)

    return [
        (add(2, 3), "calls a tool: 5"),
        (
            f"kill -9 {facts.demo_pid}; {add(20, 22)}",
            "kills the server and calls it again at once: 42, all the same",
        ),
        (_command(facts.home, "check"), "shows how the hub took it"),
    ]


def _command(home: Path, *words: str) -> str:
    """A command line for another terminal, which has its own folder and environment."""
    usual = not os.environ.get("AGENTHUB_HOME") and home == default_home()
    words = (*words, *(() if usual else ("--home", str(home))))
    return escaped(" ".join([_program(), *map(shlex.quote, words)]))


def _program() -> str:
    """How this program is called, in the folder in which it was started."""
    called = Path(sys.argv[0])
    if called.name != "agenthub":
        return f"{shlex.quote(sys.executable)} -m agenthub"
    found = shutil.which("agenthub")
    if found and Path(found).resolve() == called.resolve():
        return "agenthub"
    full = called.absolute()
    here = Path.cwd()
    return shlex.quote(str(full.relative_to(here) if full.is_relative_to(here) else full))


def _shown(path: Path) -> str:
    return escaped(str(path))


def _count(servers: int) -> str:
    return f"{servers} server{'' if servers == 1 else 's'}"
