"""The official conformance suite through the hub, beside the same suite straight at the server."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml
from support.interop_clients import INSTALLED, LEGACY, MODERN, PACKAGES, ROOT, environment
from support.real_hub import RealHub, wait_for

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
def serving(program: str) -> Iterator[str]:
    """The address of a server of tests/support."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = ROOT / "tests" / "support" / program
    server = subprocess.Popen([sys.executable, str(path), "--port", str(port)])

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


@pytest.fixture(scope="module")
def everything():
    """The address of the server that has what the suite looks for."""
    with serving("everything_server.py") as url:
        yield url


@pytest.fixture(scope="module")
def hub(everything, tmp_path_factory):
    home = tmp_path_factory.mktemp("conformance") / "home"
    with RealHub(home, AGENTHUB__AUTH__ANONYMOUS_LOOPBACK="true") as hub:
        hub.command("add", "everything", "--url", everything, "--no-limit")
        hub.ready("everything")
        yield hub


@pytest.mark.timeout(300)
@pytest.mark.parametrize("revision", [MODERN, LEGACY])
def test_what_succeeds_at_the_server_succeeds_through_the_hub(
    revision, everything, hub, tmp_path
):  # fmt: skip
    direct = run_suite(everything, revision, tmp_path / "direct")
    through = run_suite(f"{hub.url}/mcp/everything", revision, tmp_path / "through")
    scenarios = required(revision)
    assert len(scenarios) == {MODERN: 37, LEGACY: 30}[revision]
    assert {one for one in scenarios if "FAILURE" in direct[one].values()} == set()
    failed = {
        one: [name for name, status in through.get(one, {}).items() if status == "FAILURE"]
        for one in scenarios
    }
    assert {one: checks for one, checks in failed.items() if checks} == {}
    lost = {one: successes(direct, one) - successes(through, one) for one in direct}
    assert {one: checks for one, checks in lost.items() if checks} == {}


TASK_SCENARIOS = {
    "tasks-capability-negotiation", "tasks-dispatch-and-envelope", "tasks-lifecycle",
    "tasks-mrtr-composition", "tasks-mrtr-input", "tasks-request-headers",
    "tasks-request-state-removal", "tasks-required-task-error", "tasks-wire-fields",
}  # fmt: skip
"""The suite requires them of nobody; one more, of notifications, it skips itself."""


@pytest.mark.timeout(300)
def test_tasks_succeed_at_their_server_and_through_the_hub(tmp_path):
    with serving("tasks_server.py") as url:
        direct = run_suite(url, MODERN, tmp_path / "direct")
        with RealHub(tmp_path / "home", AGENTHUB__AUTH__ANONYMOUS_LOOPBACK="true") as hub:
            hub.command("add", "jobs", "--url", url, "--no-limit")
            hub.ready("jobs")
            through = run_suite(f"{hub.url}/mcp/jobs", MODERN, tmp_path / "through")
    assert all(successes(direct, one) for one in TASK_SCENARIOS)
    for one in TASK_SCENARIOS:
        assert set(direct[one].values()) == set(through[one].values()) == {"SUCCESS"}, one
        assert successes(direct, one) <= successes(through, one), one
