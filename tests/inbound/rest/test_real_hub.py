"""The REST door of the hub as it runs: its own catalog, breakers, database and log."""

import json
import sys

import httpx2
import pytest
from support.real_hub import RealHub, wait_for

COMMAND = [sys.executable, "-m", "agenthub.demo.calculator"]
BREAKER = "/api/gateway/circuit-breaker/sums"


@pytest.fixture
def hub(tmp_path):
    return RealHub(tmp_path / "home")


def client(hub):
    token = (hub.home / "admin-token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=hub.url, headers=headers, timeout=20)


def call(rest, **arguments):
    return rest.post(
        "/api/tools/call", json={"server": "sums", "tool": "add", "arguments": arguments}
    )


def test_servers_calls_breakers_and_their_history_are_what_rest_says(hub):
    with hub, client(hub) as rest:
        made = rest.post("/api/endpoints", json={"name": "sums", "command": COMMAND})
        assert made.status_code == 201
        found = rest.post("/api/endpoints/sums/test?seconds=10").json()
        assert (found["ok"], found["tools_count"]) == (True, 4)
        assert "add" in {tool["name"] for tool in rest.get("/api/tools").json()["tools"]}

        answer = call(rest, a=2, b=3).json()
        assert answer["result"]["content"][0]["text"] == "5"
        assert (answer["served_by"], answer["is_error"]) == ("sums", False)
        wrong = call(rest, a="x", b=3)
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_params")

        assert rest.post(f"{BREAKER}/open", json={"reason": "deploy"}).json()["state"] == (
            "forced_open"
        )
        refused = call(rest, a=2, b=3)
        assert (refused.status_code, refused.json()["code"]) == (503, "circuit_open")
        assert refused.headers["content-type"] == "application/problem+json"
        rest.post(f"{BREAKER}/close")
        assert call(rest, a=2, b=3).status_code == 200
        rest.post(f"{BREAKER}/reset")

        def history():
            return rest.get(BREAKER).json()["history"]

        causes = wait_for(lambda: [e["cause"] for e in history()] if len(history()) > 2 else None)
        assert causes[:3] == ["operator: reset", "operator: admin", "operator: admin: deploy"]

        def outcomes():
            return [row["outcome"] for row in rest.get("/api/calls?limit=10").json()["calls"]]

        assert wait_for(lambda: outcomes() if len(outcomes()) > 3 else None) == [
            "ok", "circuit_open", "invalid_params", "ok",
        ]  # fmt: skip
        first = rest.get("/api/calls?limit=2").json()
        second = rest.get("/api/calls", params={"limit": 2, "before": first["next_before"]}).json()
        assert len({row["id"] for row in first["calls"] + second["calls"]}) == 4

        counted = rest.get("/api/gateway/metrics").json()["endpoints"]["sums"]
        assert counted["rejections"] == {"circuit_open": 1, "invalid_params": 1}
        assert counted["transitions"]["forced_open"] == 1
        assert 'agenthub_calls_total{endpoint="sums",outcome="ok"} 2' in rest.get("/metrics").text


def test_settings_of_a_breaker_change_at_run_time_and_survive_a_restart(hub):
    hub.command("add", "sums", "--", *COMMAND)
    with hub, client(hub) as rest:
        pid = wait_for(lambda: rest.get("/api/endpoints/sums").json()["pid"])
        changed = rest.put(f"{BREAKER}/config", json={"failure_threshold": 2})
        assert changed.json()["config"]["failure_threshold"] == 2
        refused = rest.put(f"{BREAKER}/config", json={"failure_threshold": 0})
        assert "failure_threshold: expected a number from 1" in refused.json()["detail"]
        assert rest.get("/api/endpoints/sums").json()["pid"] == pid, "no new process for it"
    with hub, client(hub) as rest:
        assert rest.get(BREAKER).json()["config"]["failure_threshold"] == 2


def test_events_come_while_they_happen(hub):
    with hub, client(hub) as rest, rest.stream("GET", "/api/events?event=server") as stream:
        rest.post("/api/endpoints", json={"name": "new", "url": "http://127.0.0.1:9/"})
        for line in stream.iter_lines():
            if line.startswith("data:"):
                break
        event = json.loads(line.removeprefix("data:"))
        assert (event["endpoint"], event["state"]) == ("new", "added")


def test_who_has_no_key_learns_nothing(hub):
    with hub, httpx2.Client(base_url=hub.url) as nobody:
        for path in ("/api/endpoints", "/api/tools", "/metrics", "/openapi.json", "/api/none"):
            assert nobody.get(path).status_code == 401
        assert nobody.get("/healthz").json() == {"status": "ok"}
