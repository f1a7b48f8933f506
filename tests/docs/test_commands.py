"""A stranger can follow every command of the docs: they are run as they stand there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.serve_hub import environment, serving

from agenthub.settings import load

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = f"{sys.executable} -m agenthub"
SUMS = {"command": sys.executable, "args": ["-m", "agenthub.demo.calculator"]}
CURSOR = {"mcpServers": {"sums": SUMS}}


def blocks(page, language=""):
    text = (ROOT / page).read_text()
    return [body for kind, body in FENCE.findall(text) if kind == language]


def commands(page):
    """The lines that call the program, with the program's path taken off."""
    lines = "".join(blocks(page)).replace("\\\n", "").splitlines()
    found = [re.sub(r"^(\.venv/bin/)?agenthub ", "", line) for line in lines if "agenthub " in line]
    return [line for line in found if line != "" and not line.startswith(("make", "git"))]


class Shell:
    """Runs the lines in an empty HOME, against one hub."""

    def __init__(self, hub, home):
        self._env = environment(HOME=str(home), AGENTHUB_HOME=str(hub.home), PATH="/usr/bin:/bin")
        self._home = home

    def run(self, line):
        return subprocess.run(
            ["/bin/sh", "-c", f"{PROGRAM} {line}"],
            cwd=self._home, env=self._env, capture_output=True, text=True, timeout=40, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def shell(tmp_path):
    home = tmp_path / "user"
    (home / ".cursor").mkdir(parents=True)
    (home / ".cursor" / "mcp.json").write_text(json.dumps(CURSOR))
    with serving(tmp_path / "hub") as hub:
        hub.until_well("calculator", "calculator-twin", "flaky")
        yield Shell(hub, home)


def test_the_tutorial_does_what_it_says(shell):
    said = {}
    for line in commands("docs/tutorial.md"):
        done = shell.run(line)
        said.setdefault(line, []).append(done)
        assert "Traceback" not in done.stderr
    codes = {line: [done.returncode for done in runs] for line, runs in said.items()}
    assert codes.pop("call flaky work") == [1, 0], "it died in the middle; then it ran again"
    assert {code for runs in codes.values() for code in runs} == {0}, codes
    assert said["call calculator add --arg a=2 --arg b=3"][0].stdout == "5\n"
    assert "outcome_unknown" in said["call flaky work"][0].stderr
    twin = said["call calculator multiply --arg a=6 --arg b=7"][0]
    assert (twin.stdout, "calculator-twin" in twin.stderr) == ("42\n", True)
    assert "sums" in said["import ~/.cursor/mcp.json"][0].stdout


PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/howto/*.md"))]
MIRRORS = ("search-b", "search-c")


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_the_commands_of_the_readme_and_the_how_tos_work(page, shell):
    for name in MIRRORS:
        shell.run(f"add {name} --url http://127.0.0.1:9/mcp")
    for line in dict.fromkeys(commands(page)):
        done = shell.run(line)
        wanted = {0, 1} if line.startswith("doctor") else {0}
        assert done.returncode in wanted, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "text", [b for p in sorted(ROOT.glob("docs/howto/*.md")) for b in blocks(p, "yaml")]
)
def test_the_settings_of_the_docs_are_taken(text, tmp_path):
    file = tmp_path / "agenthub.yaml"
    file.write_text(text)
    assert set(load(file, {}).endpoints) == set(yaml.safe_load(text).get("endpoints", {}))
