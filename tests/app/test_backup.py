"""A hub is backed up under load, and restored as the docs say."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
from docs.test_commands import Shell, blocks
from support.serve_hub import Served, config, until

CONFIG = """
prices: [{provider: demo, model: '*', input: '1000.00', output: '2000.00'}]
endpoints: {demo: {llm: {preset: demo}}}
"""
BODY = {
    "model": "demo/demo-1", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]
}  # fmt: skip


class Payers:
    """Callers that pay without end."""

    def __init__(self, hub):
        self.hub, self.paid, self.told = hub, 0, []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._done.is_set():
            self.told.append(self.hub.ask("POST", "/v1/chat/completions", BODY)[0])

    def close(self):
        self._done.set()
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def home(tmp_path):
    config(tmp_path / "hub", CONFIG)
    return tmp_path / "hub"


def total(hub):
    return hub.get("/api/usage/summary")["total"]


def test_a_hub_is_backed_up_while_it_works_and_restored_as_the_how_to_says(home, tmp_path):
    hub, copy = Served(home).up(), tmp_path / "hub-backup.db"
    (line,) = blocks("docs/howto/backup.md")
    (script,) = blocks("docs/howto/backup.md", "sh")
    try:
        hub.ask("PUT", "/api/usage/budget", {"monthly_budget_usd": "1000000.00"})
        _, key = hub.ask("POST", "/api/keys", {"name": "kept"})
        shell = Shell(hub, tmp_path)
        with closing(Payers(hub)) as payers:
            until(lambda: len(payers.told) > 20)
            before = len(payers.told)
            made = shell.run(line.removeprefix("agenthub ").strip())
            assert made.returncode == 0, made.stderr
            until(lambda: len(payers.told) > before + 20)
        assert set(payers.told) == {200}
        all_ = total(hub)["calls"]
        assert hub.stop() == 0
        done = shell.script(script, BACKUP=str(copy))
        assert done.returncode == 0, done.stderr
    finally:
        hub.end()
    assert copy.stat().st_mode & 0o777 == 0o600
    restored = Served(home).up()
    try:
        assert before <= total(restored)["calls"] <= all_
        (budget,) = restored.get("/api/usage/budgets")["budgets"]
        assert (budget["limit_usd"], budget["reserved_usd"]) == ("1000000.00", "0.00")
        assert restored.ask("POST", "/api/usage/rebuild", {}) == (200, {"counters": 0, "slots": 0})
        assert restored.ask("POST", "/v1/chat/completions", BODY, token=key["key"])[0] == 200
    finally:
        restored.end()
    assert len(list(Path(home / "aside").iterdir())) >= 1
