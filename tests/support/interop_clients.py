"""Real clients as programs: each does what a `Wish` says and tells what it got."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".interop"
INTEROP = ROOT / "tests" / "interop"
PACKAGES = INSTALLED / "npm" / "node_modules"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
CLIENT_S = 120


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def environment() -> dict[str, str]:
    """The machine's, with the Node, npx and servers of the interop set-up before the others."""
    path = f"{INSTALLED}/bin:{INSTALLED}/python/bin:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NO_COLOR": "1"}


@contextmanager
def program(*command: object) -> Iterator[None]:
    """It runs, and hears of the end."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class Wish:
    """What a client shall do: connect, list, call."""

    url: str = ""
    key: str = ""
    mode: str = "auto"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    all_lists: bool = False
    """Prompts and resources, too."""
    progress: bool = False
    """Ask the calls to tell of it."""
    command: list[str] = field(default_factory=list)
    """A server to start, in the place of the URL."""
    env: dict[str, str] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)
    """For the matrix: do each of the features with each of these, and name the calls by the tag."""
    features: list[str] = field(default_factory=list)
    tag: str = ""


@dataclass(frozen=True)
class RealClient:
    """One released client library in one of its modes, and the revision that it then speaks."""

    name: str
    program: str
    mode: str
    version: str
    bridge: tuple[str, ...] = ()
    """A program between client and hub; URL in it is the hub's."""

    def command(self) -> list[str]:
        if self.program.endswith(".mjs"):
            # Node looks for packages upwards from the file.
            for name in (self.program, "talk.mjs", "matrix.mjs"):
                shutil.copyfile(INTEROP / name, PACKAGES.parent / name)
            return [str(INSTALLED / "bin" / "node"), str(PACKAGES.parent / self.program)]
        if self.program.endswith("mcp1.py"):
            return [str(INSTALLED / "python" / "bin" / "python"), str(INTEROP / self.program)]
        return [sys.executable, str(INTEROP / self.program)]

    def do(self, wish: Wish) -> dict[str, Any]:
        """What the client was told. Fails with its stderr."""
        wish = replace(wish, mode=self.mode)
        if self.bridge:
            command = [wish.url if part == "URL" else part for part in self.bridge]
            wish = replace(wish, command=command, env=environment())
        done = subprocess.run(
            [*self.command(), json.dumps(asdict(wish))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=CLIENT_S,
            env=environment(),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)


CLIENTS = [
    RealClient("mcp 1.30", "client_mcp1.py", "legacy", LEGACY),
    RealClient("mcp 2.3 modern", "client_mcp2.py", "auto", MODERN),
    RealClient("mcp 2.3 legacy", "client_mcp2.py", "legacy", LEGACY),
    RealClient("TypeScript v1", "client_ts1.mjs", "legacy", LEGACY),
    RealClient("TypeScript v2 modern", "client_ts2.mjs", "auto", MODERN),
    RealClient("TypeScript v2 legacy", "client_ts2.mjs", "legacy", LEGACY),
]
