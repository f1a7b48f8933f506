"""What a hub knows survives its end, in order or by kill -9; what it started does not."""

import os
import signal
import sys
import time

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


def test_a_hub_that_stood_still_goes_on_without_a_storm(home):
    """F38, short: what is left of the 30 s bound is tested in virtual time."""
    with serving(home) as hub:
        hub.until_well("calculator", "flaky")
        os.kill(hub.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(hub.pid, signal.SIGCONT)
        assert hub.call("calculator", "add", a=2, b=3) == (200, "5")
        breakers = hub.get("/api/gateway/circuit-breakers")["circuit_breakers"]
        assert {breaker["state"] for breaker in breakers} == {"closed"}


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
