"""The settings file changes while the hub runs (F54)."""

import os
import signal
import sys
import threading

import pytest
from support.serve_hub import config, serving, until, yaml_server

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]
FLAKY = [sys.executable, "-m", "agenthub.demo.flaky"]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def names(hub):
    return [e["name"] for e in hub.get("/api/endpoints")["endpoints"]]


def one(**more):
    return yaml_server("one", *CALCULATOR, rate_limit=None, **more)


def test_a_changed_file_is_taken_without_being_told(home):
    config(home, "endpoints:\n" + one())
    with serving(home) as hub:
        config(home, "endpoints:\n" + one() + yaml_server("two", *FLAKY))
        until(lambda: names(hub) == ["one", "two"], 10, "the second server")
        hub.until_well("two")
        assert hub.call("two", "echo", text="x") == (200, "x")
        config(home, "endpoints:\n" + yaml_server("two", *FLAKY))
        until(lambda: names(hub) == ["two"], 10, "the end of the first")
        assert "Settings taken" in hub.words()


def test_a_signal_takes_it_at_once(home):
    config(home, "endpoints:\n" + one())
    with serving(home) as hub:
        config(home, "endpoints:\n" + one() + yaml_server("two", *FLAKY))
        os.kill(hub.pid, signal.SIGHUP)
        until(lambda: names(hub) == ["one", "two"], 3, "the second server")


def test_a_wrong_file_is_refused_as_a_whole_and_told_in_words(home):
    config(home, "endpoints:\n" + one())
    with serving(home) as hub:
        config(home, "endpoints:\n" + yaml_server("two", *FLAKY) + "  three: {comand: [x]}\n")
        os.kill(hub.pid, signal.SIGHUP)
        until(lambda: "Settings refused" in hub.words(), 3)
        assert "agenthub.yaml:3: endpoints.three.comand: unknown key" in hub.words()
        assert names(hub) == ["one"]
        hub.until_well("one")
        assert hub.call("one", "add", a=1, b=1) == (200, "2")


def test_a_circle_of_fallbacks_is_refused_as_a_whole(home):
    config(home, "endpoints:\n" + one())
    with serving(home) as hub:
        circle = yaml_server("a", "x", fallbacks=["b"]) + yaml_server("b", "x", fallbacks=["a"])
        config(home, "endpoints:\n" + circle)
        os.kill(hub.pid, signal.SIGHUP)
        until(lambda: "Settings refused" in hub.words(), 3)
        assert names(hub) == ["one"]


def test_calls_go_on_while_the_file_changes_under_them(home):
    """Old calls keep what they began with; none fails."""
    config(home, "endpoints:\n" + one())
    with serving(home) as hub:
        hub.until_well("one")
        answers, over = [], threading.Event()

        def call():
            while not over.is_set():
                answers.append(hub.call("one", "add", a=1, b=1))

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for change in ({"timeouts": {"call_ms": 9000}}, {"grace_s": 5}, {"env": {"A": "1"}}, {}):
            before, taken = len(answers), hub.words().count("Settings taken")
            config(home, "endpoints:\n" + one(**change))
            os.kill(hub.pid, signal.SIGHUP)
            until(lambda n=taken: hub.words().count("Settings taken") > n, 5, "the change")
            until(lambda n=before: len(answers) > n + 40, what="calls")
        over.set()
        for thread in threads:
            thread.join(10)
        assert set(answers) == {(200, "2")}


def test_what_stands_in_the_file_is_changed_there(home):
    config(home, "endpoints:\n" + one())
    with serving(home) as hub:
        status, problem = hub.ask("DELETE", "/api/endpoints/one")
        assert (status, problem["code"]) == (409, "conflict")
        assert str(home / "agenthub.yaml") in problem["detail"]


def test_views_of_the_file_are_taken_too_and_are_the_files_to_change(home):
    config(home, "endpoints:\n" + one() + "views: {sums: {allow: [one__*]}}\n")
    with serving(home) as hub:
        assert hub.get("/api/views")["views"] == [{"name": "sums", "allow": ["one__*"]}]
        assert hub.ask("DELETE", "/api/views/sums", {})[0] == 409
        config(home, "endpoints:\n" + one() + "views: {other: {allow: [one__*]}}\n")
        until(lambda: hub.get("/api/views")["views"][0]["name"] == "other", 10, "the other view")
        config(home, "endpoints:\n" + one() + "views: {other: {}}\n")
        until(lambda: "Settings refused" in hub.words(), 10)
        assert hub.get("/api/views")["views"][0]["name"] == "other"


def test_prices_of_the_file_are_taken_for_the_calls_from_then_on(home):
    model = "endpoints:\n  demo: {llm: {preset: demo}}\n"
    asked = {"model": "demo-1", "messages": [{"role": "user", "content": "hello"}]}
    config(home, model)
    with serving(home) as hub:
        hub.until_well("demo")
        assert hub.ask("POST", "/v1/chat/completions", asked)[0] == 200
        config(home, model + "prices: [{provider: demo, model: demo-1, request: '0.5'}]\n")
        until(lambda: "Settings taken" in hub.words(), 10)
        assert hub.ask("POST", "/v1/chat/completions", asked)[0] == 200
        calls = hub.get("/api/usage/calls")["calls"]
        assert [call["price_ref"] for call in calls] == ["override:1", "override:demo"]
        assert calls[0]["cost_usd"] == "0.50"


def test_the_time_zone_of_the_file_is_taken_too(home):
    config(home, "timezone: UTC\n")
    with serving(home) as hub:
        assert hub.get("/api/usage/summary")["timezone"] == "UTC"
        config(home, "timezone: Asia/Seoul\n")
        until(lambda: hub.get("/api/usage/summary")["timezone"] == "Asia/Seoul", 10, "the new zone")
        config(home, "timezone: Asia/Soul\n")
        until(lambda: "Settings refused" in hub.words(), 10)
        assert hub.get("/api/usage/summary")["timezone"] == "Asia/Seoul"
