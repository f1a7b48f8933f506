"""Every real client with every kind of server through one hub: what each feature does.

The table stands in docs/reference/interop.md; `make interop-table` writes it anew.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.interop_clients import (
    INSTALLED,
    INTEROP,
    LEGACY,
    MODERN,
    PACKAGES,
    RealClient,
    Wish,
    environment,
    free_port,
    listens,
)
from support.interop_page import check, table
from support.real_hub import RealHub, wait_for

FEATURES = ("list", "echo", "progress", "elicit", "sample", "roots", "cancel", "subscribe")
CANCEL_S = 5
OLD = (str(INSTALLED / "python" / "bin" / "python"), str(INTEROP / "server_mcp1.py"))
NEW = (sys.executable, str(INTEROP / "server_mcp2.py"))


@dataclass(frozen=True)
class Kind:
    """One kind of server: how the hub reaches it, and in which era."""

    name: str
    title: str
    program: tuple[str, ...]
    transport: str
    path: str = "/mcp"


KINDS = (
    Kind("oldpipe", "legacy stdio", OLD, "stdio"),
    Kind("oldhttp", "legacy HTTP", OLD, "http"),
    Kind("newpipe", "modern stdio", NEW, "stdio"),
    Kind("newhttp", "modern HTTP", NEW, "http"),
    Kind("oldsse", "HTTP+SSE", OLD, "sse", "/sse"),
)

REMOTE = (
    str(INSTALLED / "bin" / "node"),
    str(PACKAGES / "mcp-remote" / "dist" / "proxy.js"),
    "URL",
    "--allow-http",
    "--transport",
    "http-only",
)
CLIENTS = (
    RealClient("mcp 1.30", "matrix_mcp1.py", "legacy", LEGACY),
    RealClient("mcp 2.3 modern", "matrix_mcp2.py", "auto", MODERN),
    RealClient("mcp 2.3 legacy", "matrix_mcp2.py", "legacy", LEGACY),
    RealClient("TypeScript v1", "matrix_ts1.mjs", "legacy", LEGACY),
    RealClient("TypeScript v2 auto", "matrix_ts2.mjs", "auto", MODERN),
    RealClient("mcp-remote", "matrix_mcp2.py", "auto", MODERN, REMOTE),
)
INSPECTOR = "Inspector CLI"
CANNOT = {
    (INSPECTOR, "progress"): "its command line shows the result alone",
    (INSPECTOR, "elicit"): "its command line declares no elicitation: nobody could answer",
    (INSPECTOR, "sample"): "its command line declares no sampling: it has no model",
    (INSPECTOR, "roots"): "its command line declares roots and has none to tell",
    (INSPECTOR, "cancel"): "its command line has no word for it",
    (INSPECTOR, "subscribe"): "its command line has no word for it",
}
"""What a client has not. Everything else must work."""


@dataclass(frozen=True)
class House:
    hub: RealHub
    folder: Path

    @property
    def log(self) -> list[str]:
        file = self.folder / "log"
        return file.read_text().splitlines() if file.exists() else []


@contextmanager
def serving(kind: Kind, folder: Path) -> Iterator[tuple[str, ...]]:
    """The words that tell `agenthub add` of it."""
    if kind.transport == "stdio":
        yield ("--", *kind.program, kind.name, str(folder), "stdio")
        return
    port = free_port()
    words = (*kind.program, kind.name, str(folder), kind.transport, str(port))
    process = subprocess.Popen(words)
    try:
        wait_for(lambda: process.poll() is not None or listens(port), 40)
        yield ("--url", f"http://127.0.0.1:{port}{kind.path}")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("matrix")
    loopback = {"AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "true"}
    with ExitStack() as stack:
        added = [(kind, stack.enter_context(serving(kind, folder))) for kind in KINDS]
        hub = stack.enter_context(RealHub(folder / "home", environment(), **loopback))
        for kind, words in added:
            hub.command("add", kind.name, "--no-limit", *words)
        hub.ready(*(kind.name for kind in KINDS), seconds=40)
        yield House(hub, folder)


def problems_of(client: RealClient, house: House) -> dict[str, dict[str, str]]:
    """By server and feature: what went wrong, or nothing."""
    tag = client.name.replace(" ", "-")
    url = f"{house.hub.url}/mcp"
    wish = Wish(url=url, servers=[kind.name for kind in KINDS], features=list(FEATURES), tag=tag)
    told = client.do(wish)
    assert told["version"] == client.version
    for kind in KINDS:
        expected = f"{kind.name} cancelled {tag}"
        heard = wait_for_line(house, expected)
        if not heard:
            told["problems"][kind.name]["cancel"] = "the server was not told"
    return told["problems"]


def wait_for_line(house: House, line: str) -> bool:
    """Whether the server wrote it; it hears of a cancelled call a moment after the client."""
    try:
        return wait_for(lambda: line in house.log, CANCEL_S)
    except AssertionError:
        return False


class Inspector:
    """The Inspector as a program: one method in each of its lives."""

    def __init__(self, house: House) -> None:
        self._url = f"{house.hub.url}/mcp"
        self._environment = {
            **environment(),
            "HOME": str(house.folder),
            "MCP_INSPECTOR_SECRET_STORE": "memory",
        }

    def _command(self, *words: str) -> list[str]:
        launcher = PACKAGES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
        options = ("--cli", self._url, "--transport", "http", "--format", "json", "-q")
        return [str(INSTALLED / "bin" / "node"), str(launcher), *options, *words]

    def ask(self, *words: str) -> dict:
        done = subprocess.run(
            self._command(*words), stdin=subprocess.DEVNULL, capture_output=True, check=True,
            text=True, timeout=40, env=self._environment,
        )  # fmt: skip
        return json.loads(done.stdout)["result"]


def inspected(house: House) -> dict[str, dict[str, str]]:
    """The same of the Inspector, which does one thing in each of its lives."""
    inspector = Inspector(house)
    names = {tool["name"] for tool in inspector.ask("--method", "tools/list")["tools"]}
    found = {}
    for kind in KINDS:
        tool = f"{kind.name}__echo"
        said = inspector.ask(
            "--method", "tools/call", "--tool-name", tool, "--tool-arg", "word=inspected"
        )
        text = said["content"][0]["text"]
        found[kind.name] = {
            "list": "" if tool in names else f"only {sorted(names)}",
            "echo": "" if text == "echo inspected" else text,
            **{feature: CANNOT[INSPECTOR, feature] for feature in FEATURES[2:]},
        }
    return found


@pytest.fixture(scope="module")
def found(house) -> dict[str, dict[str, dict[str, str]]]:
    """By client, server and feature: what is not so, or nothing."""
    told = {client.name: problems_of(client, house) for client in CLIENTS}
    told[INSPECTOR] = inspected(house)
    return told


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
@pytest.mark.parametrize("client", [*(client.name for client in CLIENTS), INSPECTOR])
def test_everything_works_that_the_client_has(client, kind, found):
    problems = found[client][kind.name]
    assert set(problems) == set(FEATURES)
    wrong = {one: why for one, why in problems.items() if why and (client, one) not in CANNOT}
    assert wrong == {}


@pytest.mark.timeout(300)
def test_the_table_in_the_reference_is_what_was_found(found):
    heads = ["client", "server", *FEATURES]
    rows = [
        [client, kind.title, *("-" if found[client][kind.name][one] else "✓" for one in FEATURES)]
        for client in found
        for kind in KINDS
    ]
    reasons = [f"- {client}, {one}: {why}." for (client, one), why in CANNOT.items()]
    check("matrix", "\n".join([*table(heads, rows), "", "Where there is a dash:", "", *reasons]))
