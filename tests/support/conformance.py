"""The official conformance suite as a program, and the servers that it is run against."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import yaml
from support.interop_clients import INSTALLED, PACKAGES, ROOT, environment
from support.real_hub import wait_for

SUITE = PACKAGES / "@modelcontextprotocol" / "conformance"
SUITE_S = 120


def required(revision: str) -> set[str]:
    known = yaml.safe_load((SUITE / "requirements" / f"{revision}.yaml").read_text())
    return set(known["server"])


def run_suite(url: str, revision: str, out: Path) -> dict[str, dict[str, str]]:
    """By scenario: the worst status of each check."""
    node, script = INSTALLED / "bin" / "node", SUITE / "dist" / "index.js"
    options = ("--url", url, "--requirements", revision, "-o", str(out))
    subprocess.run(
        [str(node), str(script), "server", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,  # What failed is read from what it wrote.
        timeout=SUITE_S,
        env=environment(),
        cwd=out.parent,
    )
    found: dict[str, dict[str, str]] = {}
    for file in sorted(out.glob("server-*/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", file.parent.name)
        for check in json.loads(file.read_text()):
            kept = found.setdefault(scenario, {})
            if kept.get(check["id"]) != "FAILURE":
                kept[check["id"]] = check["status"]
    return found


def successes(found: dict[str, dict[str, str]], scenario: str) -> set[str]:
    return {name for name, status in found.get(scenario, {}).items() if status == "SUCCESS"}


@contextmanager
def serving(program: str, *more: str) -> Iterator[str]:
    """The address of a server of tests/support."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = ROOT / "tests" / "support" / program
    server = subprocess.Popen([sys.executable, str(path), "--port", str(port), *more])

    def listens() -> bool:
        assert server.poll() is None
        with closing(socket.socket()) as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.terminate()
        server.wait(10)
