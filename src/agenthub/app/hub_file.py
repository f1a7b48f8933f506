"""`hub.json` in the home: where the running hub listens, for the commands that act on it."""

import json
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agenthub.app.private_file import read_private, write_private
from agenthub.outbound.home import holder

FILE = "hub.json"
CONNECT_S = 2.0


class Running(NamedTuple):
    """A hub that runs."""

    pid: int
    url: str


def announce(home: Path, url: str, at_s: int) -> None:
    """Say that this process listens there. Raises StorageFailed."""
    facts = {"pid": os.getpid(), "url": url, "started_at": at_s}
    write_private(home / FILE, json.dumps(facts) + "\n")


def withdraw(home: Path) -> None:
    """Say that it listens no longer; what another process wrote stays."""
    known = _read(home)
    if known is not None and known.pid == os.getpid():
        (home / FILE).unlink(missing_ok=True)


def find(home: Path) -> Running | None:
    """The hub that listens for this home; None if none does. Raises StorageFailed."""
    known = _read(home)
    # A file that a killed hub left must not send the admin token to whoever has the port now.
    if known is None or holder(home) != known.pid or not _listens(known.url):
        return None
    return known


def _read(home: Path) -> Running | None:
    text = read_private(home / FILE)
    if text is None:
        return None
    try:
        facts: Any = json.loads(text)
        pid, url = facts["pid"], facts["url"]
    except (ValueError, TypeError, KeyError):
        return None
    return Running(pid, url) if isinstance(pid, int) and isinstance(url, str) else None


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_S):
            return True
    except OSError:
        return False
