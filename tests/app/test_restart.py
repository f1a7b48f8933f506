"""What a hub knows survives its end, in order or by kill -9; what it started does not."""

import os
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.serve_hub import config, serving, until, until_gone, yaml_server

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]
FLAKY = [sys.executable, "-m", "agenthub.demo.flaky"]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def add(hub, name, command, **more):
    status, view = hub.ask("POST", "/api/endpoints", {"name": name, "command": command, **more})
    assert status == 201, view
    return view


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_servers_keys_settings_and_tools_are_there_again(home, number):
    with serving(home, "--no-demo") as hub:
        add(hub, "mine", CALCULATOR, rate_limit={"rps": 7, "burst": 9})
        add(hub, "sick", ["no-such-program"])
        add(hub, "gone", CALCULATOR)
        assert hub.ask("DELETE", "/api/endpoints/gone")[0] == 204
        _, made = hub.ask("POST", "/api/keys", {"name": "laptop"})
        _, lost = hub.ask("POST", "/api/keys", {"name": "stolen"})
        assert hub.ask("DELETE", f"/api/keys/{lost['id']}")[0] == 204
        path = "/api/gateway/circuit-breaker/mine/config"
        assert hub.ask("PUT", path, {"failure_threshold": 2})[0] == 200
        token = hub.token
        hub.until_well("mine")
        hub.stop(number)
    with serving(home, "--no-demo") as hub:
        assert hub.token == token
        assert {e["name"] for e in hub.get("/api/endpoints")["endpoints"]} == {"mine", "sick"}
        config = hub.server("mine")["config"]
        assert config["rate_limit"] == {"rps": 7, "burst": 9}
        assert config["breaker"]["failure_threshold"] == 2
        assert len(hub.get("/api/tools?endpoint=mine")["tools"]) == 4, "known before it connects"
        assert hub.ask("GET", "/api/endpoints", token=made["key"])[0] == 200
        assert hub.ask("GET", "/api/endpoints", token=lost["key"])[0] == 401
        hub.until_well("mine")
        assert hub.call("mine", "add", a=1, b=1) == (200, "2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_open_breaker_stays_open_for_the_rest_of_its_time(home, number):
    """R17, through a real restart."""
    slow = {"recovery_timeout_ms": 60_000, "max_open_ms": 60_000, "failure_threshold": 2}
    with serving(home, "--no-demo") as hub:
        add(hub, "sick", ["no-such-program"], breaker=slow)
        add(hub, "held", CALCULATOR)
        word = {"reason": "broken data", "ttl_s": 3600}
        assert hub.ask("POST", "/api/gateway/circuit-breaker/held/open", word)[0] == 200
        opened = until(lambda: self_open(hub, "sick"), what="the open breaker")
        time.sleep(0.3)  # What was told is written a moment later.
        hub.stop(number)
    with serving(home, "--no-demo") as hub:
        again = hub.get("/api/gateway/circuit-breaker/sick")
        assert again["state"] == "open"
        assert again["level"] == opened["level"]
        assert opened["retry_after_ms"] - 15_000 < again["retry_after_ms"]
        assert again["retry_after_ms"] < opened["retry_after_ms"]
        assert hub.call("sick", "add", a=1, b=1) == (503, "circuit_open")
        held = hub.get("/api/gateway/circuit-breaker/held")
        assert (held["state"], held["reason"]) == ("forced_open", "admin: broken data")
        assert 3_500_000 < held["retry_after_ms"] < 3_600_000
        assert held["history"][0]["after"] == "forced_open"


def self_open(hub, name):
    breaker = hub.get(f"/api/gateway/circuit-breaker/{name}")
    return breaker if breaker["state"] == "open" else None


def test_after_kill_9_nothing_is_left_and_the_next_hub_is_up_within_two_seconds(home):
    with serving(home) as hub:
        hub.until_well("calculator", "calculator-twin", "flaky")
        family = hub.family()
        assert len(family) == 6, "hub, database, guardian, three servers"
        assert hub.call("calculator", "add", a=2, b=3) == (200, "5")
        until(lambda: hub.get("/api/calls")["calls"], what="the row of the call")
        hub.stop(signal.SIGKILL)
        started = time.monotonic()
        with serving(home, log=f"{home}-2") as again:
            assert time.monotonic() - started < 2
            until_gone(family, 5)
            again.until_well("calculator")
            assert [c["name"] for c in again.get("/api/calls")["calls"]] == ["add"]


class Till:
    """A server that writes down what it carries out, and payments that bring a key."""

    SERVER = Path(__file__).parents[1] / "support" / "stdio_servers" / "till.py"

    def __init__(self, tmp_path):
        self.book = tmp_path / "book"

    def add(self, hub):
        command = [sys.executable, str(self.SERVER), str(self.book)]
        add(hub, "till", command, concurrency=100, rate_limit=None)
        hub.until_well("till")

    def pay(self, hub, what, tool="pay", key=None):
        """The status; and the text of the answer, or the problem."""
        status, answer = hub.ask("POST", "/api/tools/call", {
            "server": "till", "tool": tool, "arguments": {"what": what},
            "idempotency_key": key or f"key of {what}",
        })  # fmt: skip
        return status, answer["result"]["content"][0]["text"] if status == 200 else answer

    def booked(self):
        return Counter(self.book.read_text().split()) if self.book.exists() else Counter()


def test_after_kill_9_a_key_gives_the_answer_or_says_that_nobody_knows(home, tmp_path):
    """R33: the server's own book is the judge."""
    till = Till(tmp_path)
    done, cut = ([f"{kind}-{n}" for n in range(30)] for kind in ("done", "cut"))
    with serving(home, "--no-demo") as hub:
        till.add(hub)
        assert [till.pay(hub, what) for what in done] == [(200, f"paid {w}") for w in done]

        def pay_slowly(what):
            with suppress(OSError):  # The hub is killed meanwhile.
                till.pay(hub, what, "pay_slowly")

        threads = [threading.Thread(target=pay_slowly, args=(what,)) for what in cut]
        for thread in threads:
            thread.start()
        until(lambda: len(till.booked()) == 60, what="the last of the payments")
        hub.stop(signal.SIGKILL)
        for thread in threads:
            thread.join(10)
    with serving(home, "--no-demo") as hub:
        hub.until_well("till")
        for _ in range(2):
            assert [till.pay(hub, what) for what in done] == [(200, f"paid {w}") for w in done]
            for what in cut:
                status, problem = till.pay(hub, what, "pay_slowly")
                assert (status, problem["code"]) == (502, "outcome_unknown")
                assert problem["executed"] == "unknown"
        for tool, what in (("pay", done[0]), ("pay_slowly", cut[0])):
            status, problem = till.pay(hub, "other", tool, key=f"key of {what}")
            assert (status, problem["code"]) == (422, "idempotency_conflict")
        assert till.pay(hub, "new") == (200, "paid new")
    assert till.booked() == Counter([*done, *cut, "new"])


def test_while_the_database_is_locked_only_calls_without_a_key_run(home, tmp_path):
    till = Till(tmp_path)
    with serving(home, "--no-demo") as hub:
        till.add(hub)
        with closing(sqlite3.connect(home / "agenthub.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            status, problem = till.pay(hub, "kept")
            assert (status, problem["code"]) == (503, "storage_failed")
            assert (problem["executed"], problem["retryable"]) == ("unknown", True)
            assert hub.call("till", "pay", what="free") == (200, "paid free")
            other.execute("ROLLBACK")
        until(lambda: till.pay(hub, "kept")[0] == 200, what="the end of the lock")
    assert till.booked() == Counter(["free", "kept"])


@pytest.mark.parametrize(
    "seconds",
    [1.5, pytest.param(60, marks=(pytest.mark.soak, pytest.mark.timeout(180)))],
)
def test_a_hub_that_stood_still_goes_on_without_a_storm(home, seconds):
    """F38: what was answered meanwhile counts, whatever its deadline; nobody is blamed (R19)."""
    with serving(home, "--no-demo") as hub:
        add(hub, "sum", CALCULATOR)
        add(hub, "slow", FLAKY, timeouts={"call_ms": 5_000}, attempts=1, rate_limit=None)
        hub.until_well("sum", "slow")
        assert hub.call("slow", "set_mode", mode="slow", seconds=1)[0] == 200
        pids = {name: hub.server(name)["pid"] for name in ("sum", "slow")}
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(work, hub, seconds + 30) for _ in range(8)]
            until(lambda: "calls_in_flight 8" in metrics(hub), what="the calls")
            os.kill(hub.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(hub.pid, signal.SIGCONT)
            assert hub.call("sum", "add", a=2, b=3) == (200, "5")
            assert [call.result(30) for call in calls] == [200] * 8
        for name, pid in pids.items():
            breaker = hub.get(f"/api/gateway/circuit-breaker/{name}")
            assert (breaker["state"], breaker["history"]) == ("closed", [])
            assert (hub.server(name)["pid"], hub.server(name)["health"]) == (pid, "ok")


def work(hub, seconds):
    with closing(hub.connection(timeout=seconds)) as line:
        body = {"server": "slow", "tool": "work", "arguments": {}}
        return hub.ask("POST", "/api/tools/call", body, connection=line)[0]


def metrics(hub):
    with closing(hub.connection()) as line:
        line.request("GET", "/metrics", headers={"authorization": f"Bearer {hub.token}"})
        return line.getresponse().read().decode()


def test_fallbacks_that_went_with_the_file_or_the_demo_keep_no_hub_from_starting(home):
    config(home, "endpoints:\n" + yaml_server("filed", *CALCULATOR))
    with serving(home) as hub:
        add(hub, "mine", CALCULATOR, fallbacks=["filed"])
        assert hub.stop() == 0
    (home / "agenthub.yaml").unlink()
    with serving(home) as hub:
        assert hub.server("mine")["config"]["fallbacks"] == []
        assert "left out endpoint=mine fallbacks=filed" in hub.words()
        assert hub.ask("DELETE", "/api/endpoints/mine")[0] == 204
    with serving(home) as hub:
        off = {**hub.server("calculator")["config"], "enabled": False}
        assert hub.ask("PUT", "/api/endpoints/calculator", off)[0] == 200
        add(hub, "mine", CALCULATOR, fallbacks=["flaky"])
        assert hub.stop() == 0
    with serving(home) as hub:
        assert [one["name"] for one in hub.get("/api/endpoints")["endpoints"]] == [
            "calculator", "mine",
        ]  # fmt: skip


def test_the_files_servers_are_there_at_each_start_and_win_over_kept_ones(home):
    with serving(home, "--no-demo") as hub:
        add(hub, "one", FLAKY, pinning="allow")
        hub.stop()
    config(home, "endpoints:\n" + yaml_server("one", *CALCULATOR))
    with serving(home) as hub:
        hub.until_well("one")
        assert hub.call("one", "add", a=1, b=1) == (200, "2")
        hub.stop()
    (home / "agenthub.yaml").unlink()
    with serving(home) as hub:
        hub.until_well("one")
        assert hub.call("one", "echo", text="x") == (200, "x")
