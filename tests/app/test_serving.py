"""`agenthub serve` as a process: it starts without waiting, and stops without losing."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.hanging import deaf_tcp, hung_command, silent_tcp
from support.serve_hub import Served, config, serving, until, until_gone, yaml_server

CALCULATOR = (sys.executable, "-m", "agenthub.demo.calculator")
FLAKY = (sys.executable, "-m", "agenthub.demo.flaky")
FREE = {"rate_limit": None}
"""No limit."""


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def log_rows(home):
    """The call log: (id, outcome) of each row."""
    with closing(sqlite3.connect(home / "agenthub.db")) as db:
        return db.execute("SELECT call_id, outcome FROM call").fetchall()


class TestStart:
    def test_three_servers_of_ten_that_hang_cost_the_start_and_the_others_nothing(self, tmp_path):
        """They would cost ten seconds; a machine that does other work has three tries."""
        with silent_tcp() as silent, deaf_tcp() as deaf:
            text = "endpoints:\n" + yaml_server("hung", *hung_command())
            text += f"  silent: {{url: '{silent}'}}\n  deaf: {{url: '{deaf}'}}\n"
            text += "".join(yaml_server(f"good{n}", *CALCULATOR) for n in range(7))
            took = []
            for attempt in range(3):
                home = tmp_path / f"home{attempt}"
                config(home, text)
                with serving(home) as hub:
                    took.append(time.monotonic() - hub.started)
                    for n in range(7):
                        hub.until_well(f"good{n}")
                        assert hub.call(f"good{n}", "add", a=n, b=1) == (200, str(n + 1))
                    assert len(hub.get("/api/tools")["tools"]) == 28
                    statuses = {
                        e["name"]: e["health"] for e in hub.get("/api/endpoints")["endpoints"]
                    }
                    assert statuses["good3"] == "ok"
                    assert {statuses[n] for n in ("hung", "silent", "deaf")} <= {"starting", "down"}
                    assert hub.ask("GET", "/readyz")[0] == 200
                    family = hub.family()
                    started = time.monotonic()
                    assert hub.stop() == 0
                    assert time.monotonic() - started < 5
                    until_gone(family)
                if min(took) < 2:
                    break
            assert min(took) < 2, took

    def test_a_fresh_hub_shows_its_address_an_entry_and_three_commands_that_work(self, home):
        with serving(home) as hub:
            until(lambda: "hub took it" in hub.out.read_text(), what="the banner")
            shown = hub.out.read_text()
            assert hub.url in shown
            assert hub.token not in shown
            entry = json.loads(shown[shown.index("{\n") : shown.rindex("\n}") + 2])
            key = entry["mcpServers"]["agenthub"]["headers"]["Authorization"].removeprefix(
                "Bearer "
            )
            status, endpoints = hub.ask("GET", "/api/endpoints", token=key)
            assert status == 200
            assert [e["name"] for e in endpoints["endpoints"]] == [
                "calculator", "calculator-twin", "demo", "flaky",
            ]  # fmt: skip
            hub.until_well("calculator", "calculator-twin", "flaky")
            commands = [line.strip() for line in shown.partition("To try it")[2].splitlines()[1::2]]
            assert [self.run(command) for command in commands[:2]] == ["5\n", "42\n"]
            assert hub.server("calculator")["restarts"] == 1 or "twin" in hub.words()
            assert "calculator-twin" in self.run(commands[2])
            said = hub.words()
            assert hub.token not in said + shown
            assert key not in said
            assert shlex.split(commands[0])[-1] == str(home)

    def run(self, command):
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout

    def test_a_second_start_shows_no_key_and_makes_none(self, home):
        with serving(home) as hub:
            until(lambda: "ah_" in hub.out.read_text())
            hub.stop()
        with serving(home, log=f"{home}-2") as hub:
            until(lambda: "hub took it" in hub.out.read_text(), what="the banner")
            assert "ah_" not in hub.out.read_text()
            assert "agenthub connect CLIENT" in hub.out.read_text()
            assert len(hub.get("/api/keys")["keys"]) == 1

    def test_the_demo_is_for_those_who_have_nothing_else(self, home):
        with serving(home, "--no-demo") as hub:
            assert hub.get("/api/endpoints")["endpoints"] == []
            made = {"name": "mine", "command": list(CALCULATOR)}
            assert hub.ask("POST", "/api/endpoints", made)[0] == 201
            hub.stop()
        with serving(home) as hub:
            assert [e["name"] for e in hub.get("/api/endpoints")["endpoints"]] == ["mine"]

    def test_nothing_heavy_is_loaded_before_it_is_needed(self):
        """Start-up time and memory are what these cost."""
        code = "import sys, agenthub.app.serving; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        loaded = set(done.stdout.split())
        assert not loaded & {"fastapi", "pydantic", "starlette", "yaml", "sqlite3", "mcp", "httpx2"}

    def test_an_unknown_log_level_is_refused(self, home):
        hub = Served(home, env={"AGENTHUB_LOG": "loud"})
        assert hub.process.wait(10) == 1
        assert hub.words() == (
            "error: AGENTHUB_LOG: expected debug, info, warning, error, got 'loud'\n"
        )


class Load:
    """Callers in threads, until the hub refuses them or goes; and which calls were answered."""

    def __init__(self, hub, callers=8):
        self.answered, self.other = [], []
        self._hub = hub
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _call(self):
        body = {"server": "calculator", "tool": "add", "arguments": {"a": 1, "b": 2}}
        with closing(self._hub.connection()) as line:
            while True:
                try:
                    status, answer = self._hub.ask(
                        "POST", "/api/tools/call", body, token=self.token, connection=line
                    )
                except (OSError, ValueError) as error:
                    self.other.append(error)
                    return
                if status == 200:
                    self.answered.append(answer["request_id"])
                else:
                    self.other.append(status)
                    return

    @property
    def token(self):
        return self._hub.token

    def end(self):
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


class TestStop:
    def test_no_row_of_the_call_log_is_lost_by_a_stop_under_load(self, home):
        config(home, "endpoints:\n" + yaml_server("calculator", *CALCULATOR, **FREE))
        with serving(home) as hub:
            hub.until_well("calculator")
            load = Load(hub)
            until(lambda: len(load.answered) > 300, what="load")
            assert hub.stop() == 0
            load.end()
            assert load.other.count(503) + len(load.other) >= 8
        rows = dict(log_rows(home))
        assert len(rows) == len(log_rows(home)), "no row twice"
        assert {rows.get(one) for one in load.answered} == {"ok"}
        assert len(rows) <= len(load.answered) + 8, "and none of calls that nobody made"

    def test_calls_in_flight_get_their_answer_and_new_ones_a_refusal(self, home):
        with serving(home) as hub:
            hub.until_well("flaky")
            assert hub.call("flaky", "set_mode", mode="slow", seconds=1)[0] == 200
            answers = []
            slow = threading.Thread(target=lambda: answers.append(hub.call("flaky", "work")))
            early = hub.connection()
            early.connect()
            slow.start()
            until(lambda: b"calls_in_flight 1" in self.metrics(hub), what="the call")
            hub.process.send_signal(signal.SIGTERM)
            until(lambda: "Stopping" in hub.words())
            status, _ = hub.ask("GET", "/api/endpoints", token=hub.token, connection=early)
            early.close()
            assert status == 503
            slow.join(10)
            assert answers == [(200, "done")]
            assert hub.process.wait(10) == 0
            assert "calls_in_flight=1" in hub.words()

    def metrics(self, hub):
        with closing(hub.connection()) as line:
            line.request("GET", "/metrics", headers={"authorization": f"Bearer {hub.token}"})
            return line.getresponse().read()

    def test_a_call_that_does_not_end_is_cancelled_after_the_drain_and_told_the_truth(self, home):
        config(home, "limits: {drain_ms: 300}\nendpoints:\n" + yaml_server("flaky", *FLAKY))
        with serving(home) as hub:
            hub.until_well("flaky")
            hub.call("flaky", "set_mode", mode="hang")
            answers = []
            hung = threading.Thread(target=lambda: answers.append(hub.call("flaky", "work")))
            hung.start()
            until(lambda: b"calls_in_flight 1" in self.metrics(hub), what="the call")
            family, started = hub.family(), time.monotonic()
            assert hub.stop() == 0
            assert time.monotonic() - started < 5
            hung.join(10)
            assert answers == [(502, "outcome_unknown")]
            until_gone(family)
        assert log_rows(home)[-1][1] == "outcome_unknown"

    def test_an_open_stream_does_not_hold_up_the_stop(self, home):
        with serving(home, "--no-demo") as hub, closing(hub.connection()) as line:
            line.request("GET", "/api/events", headers={"authorization": f"Bearer {hub.token}"})
            answer = line.getresponse()
            answer.readline()
            started = time.monotonic()
            assert hub.stop() == 0
            assert time.monotonic() - started < 3
            assert " ERROR " not in hub.words()

    def test_ctrl_c_stops_in_order_and_a_second_one_at_once(self, home):
        with serving(home) as hub:
            hub.until_well("flaky")
            hub.call("flaky", "set_mode", mode="hang")
            hung = threading.Thread(target=self.call_in_vain, args=(hub,))
            hung.start()
            until(lambda: b"calls_in_flight 1" in self.metrics(hub), what="the call")
            family = hub.family()
            hub.process.send_signal(signal.SIGINT)
            until(lambda: "Stopping" in hub.words())
            assert hub.process.poll() is None
            started = time.monotonic()
            assert hub.stop(signal.SIGINT) == 130
            assert time.monotonic() - started < 5
            until_gone(family, 5)
            hung.join(10)
        with serving(home, log=f"{home}-2") as hub:
            assert hub.stop(signal.SIGINT) == 0

    def call_in_vain(self, hub):
        with suppress(OSError, ValueError):
            hub.call("flaky", "work")

    def test_a_reader_of_stdout_that_goes_away_changes_nothing(self, home):
        hub = subprocess.Popen(
            f"exec {shlex.join([sys.executable, '-m', 'agenthub', 'serve'])} --home {home} --port 0"
            " 2>/dev/null | head -0; sleep 0",
            shell=True, start_new_session=True,
        )  # fmt: skip
        try:
            facts = until(lambda: (home / "hub.json").exists() and self.facts(home))
            time.sleep(0.3)
            os.kill(facts["pid"], signal.SIGTERM)
            until_gone([facts["pid"]])
        finally:
            hub.wait(10)
        assert not (home / "hub.json").exists(), "it stopped in order"

    def facts(self, home):
        return json.loads((home / "hub.json").read_text())


def test_a_hub_whose_terminal_is_gone_stops(home):
    """SIGHUP means two things; a hub that nobody can stop any more would keep the home."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [sys.executable, "-m", "agenthub", "serve", "--home", str(home), "--port", "0"],
        )
    until((home / "hub.json").exists)
    os.close(terminal)
    until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, what="its end")
    assert not Path(home / "hub.json").exists()
