"""A hub as a new user starts it: its agent, with the demo's model and servers, and no key."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.serve_hub import environment, serving, until

CHAT = "/api/chat"


def agenthub(home, *arguments, code=0):
    """A command of a script: what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "agenthub", *arguments, "--home", home],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        env=environment(),
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr + ended.stdout
    return ended.stdout


def chat(home, text, *options, code=0):
    """The events of `agenthub chat --json`."""
    out = agenthub(home, "chat", "--json", text, *options, code=code)
    return [json.loads(line) for line in out.splitlines()]


def of(events, kind):
    return [one for one in events if one["type"] == kind]


def text_of(events):
    return "".join(one["text"] for one in of(events, "delta"))


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("chat") / "home") as hub:
        yield hub.until_well("calculator", "calculator-twin", "flaky")


def test_it_uses_a_tool_and_says_what_it_cost(hub):
    events = chat(hub.home, "Please add 17 and 3")
    (ended,) = of(events, "tool_end")
    assert (ended["outcome"], ended["text"], ended["served_by"]) == ("ok", "20", "calculator")
    assert text_of(events) == "The tool answered: 20"
    run = events[0]["run"]
    by = hub.get("/api/usage/by-session")["groups"]
    (own,) = [one for one in by if one["name"] == run]
    assert own["cost_usd"] == events[-1]["cost_usd"] != "0.00"
    assert own["calls"] == events[-1]["model_calls"] == 2
    assert "The tool answered: 20" in agenthub(hub.home, "chat", "Please add 17 and 3")


def test_the_killed_server_is_stood_in_for_by_its_fallback(hub):
    os.kill(hub.server("calculator")["pid"], signal.SIGSTOP)
    stopped = hub.server("calculator")["pid"]
    hub.ask("POST", "/api/gateway/circuit-breaker/calculator/open", {"reason": "it is killed"})
    try:
        events = chat(hub.home, "Please add 17 and 4")
        (ended,) = of(events, "tool_end")
        assert (ended["outcome"], ended["served_by"]) == ("ok", "calculator-twin")
        assert "Answered by calculator-twin" in ended["text"]
    finally:
        os.kill(stopped, signal.SIGCONT)
        hub.ask("POST", "/api/gateway/circuit-breaker/calculator/reset", {"reason": "it is back"})


def test_a_server_that_dies_is_stood_in_for_too(hub):
    os.kill(hub.server("calculator")["pid"], signal.SIGKILL)
    events = chat(hub.home, "Please add 17 and 5")
    (ended,) = of(events, "tool_end")
    assert (ended["outcome"], ended["text"].splitlines()[-1]) == ("ok", "22")


def stream(hub, run, after, take):
    """So many bytes of a run's events, or all; then the connection is cut."""
    line = hub.connection()
    headers = {"authorization": f"Bearer {hub.token}"}
    if after:
        headers["last-event-id"] = str(after)
    line.request("GET", f"{CHAT}/runs/{run}/events", headers=headers)
    data = line.getresponse().read(take)
    line.close()
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        lines = dict(part.split(": ", 1) for part in block.splitlines() if part[0] != ":")
        if "data" in lines:
            found.append((int(lines["id"]), json.loads(lines["data"])))
    return found


def test_over_a_connection_that_is_cut_again_and_again_no_event_is_lost_or_doubled(hub):
    _, run = hub.ask("POST", CHAT, {"message": "Say !slow on"})
    seen = []
    for _ in range(200):
        seen += stream(hub, run["run"], seen[-1][0] if seen else 0, 700)
        if seen and seen[-1][1]["type"] == "done":
            break
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert seen == stream(hub, run["run"], 0, None)
    assert text_of([event for _, event in seen]).startswith("You said: Say !slow")


def test_a_key_that_is_revoked_ends_what_was_begun_with_it(hub):
    _, key = hub.ask("POST", "/api/keys", {"name": "guest", "scopes": ["llm"]})
    _, run = hub.ask("POST", CHAT, {"message": "Say !slow on and on"}, token=key["key"])
    assert hub.ask("DELETE", f"/api/keys/{key['id']}")[0] == 204
    until(lambda: hub.get(f"{CHAT}/runs/{run['run']}")["state"] == "cancelled")


def test_a_busy_model_is_waited_for_and_that_is_told(hub):
    events = chat(hub.home, "Say !429", code=1)
    problems = of(events, "error")
    assert [bool(one["retry_in_ms"]) for one in problems] == [True] * 3 + [False]
    assert events[-1]["state"] == "failed"


def test_a_budget_of_a_cent_stops_it_and_it_goes_on_when_that_is_raised(tmp_path):
    home = tmp_path / "home"
    with serving(home) as hub:
        hub.until_well("calculator")
        agenthub(home, "budget", "set", "0.01")
        for _ in range(30):
            events = chat_any(home, "Please add 1 and 2")
            if events[-1]["state"] != "done":
                break
        assert of(events, "error")[0]["code"] == "budget_exceeded"
        spent = hub.get("/api/usage/budget")["current_spending_usd"]
        assert 0.008 < float(spent) <= 0.011
        agenthub(home, "budget", "set", "1")
        assert chat(home, "Please add 1 and 2")[-1]["state"] == "done"


def chat_any(home, text):
    ended = subprocess.run(
        [sys.executable, "-m", "agenthub", "chat", "--json", text, "--home", home],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        env=environment(),
    )  # fmt: skip
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_killed_in_the_middle_it_is_interrupted_readable_settled_and_goes_on(tmp_path):
    home = tmp_path / "home"
    with serving(home) as hub:
        hub.until_well("calculator")
        _, run = hub.ask("POST", CHAT, {"message": "Good morning"})
        done = f"{CHAT}/runs/{run['run']}"
        until(lambda: hub.get(done)["state"] == "done")
        more = {"message": "Tell me !slow " + "word " * 30, "conversation": run["conversation"]}
        _, second = hub.ask("POST", CHAT, more)
        until(lambda: len(stream_some(hub, second["run"])) > 3)
        os.kill(hub.pid, signal.SIGKILL)
        hub.process.wait(10)
    with serving(home) as hub:
        read = hub.get(f"{CHAT}/conversations/{run['conversation']}")
        assert [one["state"] for one in read["runs"]] == ["interrupted", "done"]
        texts = [one["message"]["text"] for one in read["messages"]]
        assert texts[:2] == ["Good morning", "You said: Good morning"]
        assert texts[2].startswith("Tell me")
        (budget,) = hub.get("/api/usage/budgets")["budgets"]
        assert budget["reserved_usd"] == "0.00"
        bases = {one["basis"] for one in hub.get("/api/usage/calls")["calls"]}
        assert bases <= {"provider", "expired", "partial"}
        assert hub.ask("POST", "/api/usage/rebuild", {})[1] == {"counters": 0, "slots": 0}
        events = chat(home, "And now?", "--conversation", run["conversation"])
        assert events[-1]["state"] == "done"


def test_told_to_stop_in_the_middle_of_an_answer_it_stops_and_keeps_it(tmp_path):
    home = tmp_path / "home"
    with serving(home) as hub:
        hub.until_well("calculator")
        _, run = hub.ask("POST", CHAT, {"message": "Tell me !slow " + "word " * 30})
        until(lambda: len(stream_some(hub, run["run"])) > 3)
        assert hub.stop(seconds=8) == 0
    with serving(home) as hub:
        read = hub.get(f"{CHAT}/conversations/{run['conversation']}")
        assert [one["state"] for one in read["runs"]] == ["interrupted"]
        last = read["messages"][-1]["message"]
        assert (last["role"], last["cut"]) == ("assistant", True)


def stream_some(hub, run):
    """What came of it within a moment."""
    line, found = hub.connection(timeout=1), []
    line.request("GET", f"{CHAT}/runs/{run}/events", headers={"authorization":
                 f"Bearer {hub.token}"})  # fmt: skip
    answer = line.getresponse()
    timer = threading.Timer(0.3, lambda: line.sock and line.sock.shutdown(2))
    timer.start()
    try:
        while data := answer.read1(65_536):
            found += data.split(b"\n\n")[:-1]
    except (OSError, http.client.HTTPException):
        pass
    finally:
        timer.cancel()
        line.close()
    return found


def test_without_a_hub_that_runs_the_command_is_one(tmp_path):
    home = tmp_path / "home"
    with serving(home) as hub:
        hub.until_well("calculator")
    events = chat(home, "Please add 17 and 3")
    assert of(events, "tool_end")[0]["text"] == "20"
    assert agenthub(home, "chat", "--json", "x", "--model", "none/at-all", code=1) == ""
