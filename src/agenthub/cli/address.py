"""The hub's own address, as clients on this machine reach it."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where one may listen


def configured(home: Path) -> str:
    """Where the hub of this home listens when it runs. Raises BadSetting."""
    from agenthub.settings import Options  # noqa: PLC0415

    server = Options(home).load(os.environ).server
    host = ANYWHERE.get(server.host, server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def is_own(url: str, own: str) -> bool:
    """Whether a server's address is the hub's MCP endpoint: the hub would call itself."""
    try:
        there, here = urlsplit(url), urlsplit(own)
        same_port = (there.port or 80) == (here.port or 80)
    except ValueError:
        return False
    hosts = {there.hostname, here.hostname}
    same_host = len(hosts) == 1 or hosts <= LOOPBACK
    path = there.path.rstrip("/")
    return same_port and same_host and path.split("/")[1:2] in (["mcp"], ["sse"])
