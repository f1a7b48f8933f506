"""Sessions of old clients outlive a hub process, and are served by a second one."""

import json
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.serve_hub import serving

PATIENT = [
    sys.executable, str(Path(__file__).parents[1] / "support" / "stdio_servers" / "patient.py"),
]  # fmt: skip
INFO = {"name": "old", "version": "1"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO}
WORK = {"name": "work", "arguments": {}, "_meta": {"progressToken": 1}}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


class Client:
    """One session, at any hub that knows its key."""

    def __init__(self, key):
        self.key, self.session = key, None

    @contextmanager
    def asked(self, hub, method, body=None, **headers):
        line = hub.connection()
        sent = {
            "authorization": f"Bearer {self.key}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self.session:
            sent["mcp-session-id"] = self.session
        line.request(method, "/mcp/patient", None if body is None else json.dumps(body), sent)
        try:
            yield line.getresponse()
        finally:
            line.close()

    def ask(self, hub, method, params):
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return self.asked(hub, "POST", body)

    def begin(self, hub):
        with self.ask(hub, "initialize", HELLO) as answer:
            assert answer.status == 200
            self.session = answer.headers["mcp-session-id"]
        return self


def events(answer):
    """Fields of each event of a stream, as they come."""
    fields = {}
    while line := answer.readline():
        if line == b"\n":
            if fields:
                yield fields
            fields = {}
        else:
            name, _, value = line.rstrip(b"\n").partition(b": ")
            fields[name.decode()] = value.decode()


def served(hub):
    """With its one server."""
    if "patient" not in {one["name"] for one in hub.get("/api/endpoints")["endpoints"]}:
        status, view = hub.ask("POST", "/api/endpoints", {"name": "patient", "command": PATIENT})
        assert status == 201, view
    return hub.until_well("patient")


def key_of(hub):
    return hub.ask("POST", "/api/keys", {"name": "laptop"})[1]["key"]


def is_served(client, hub):
    with client.ask(hub, "tools/call", {"name": "work", "arguments": {}}) as answer:
        return answer.status == 200 and b'"done"' in answer.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_session_outlives_the_hub_and_its_lost_call_is_told_to_be_lost(home, number):
    with serving(home, "--no-demo") as hub:
        client = Client(key_of(served(hub))).begin(hub)
        slow = {**WORK, "arguments": {"seconds": 30}}
        with client.ask(hub, "tools/call", slow) as answer:
            stream = events(answer)
            seen = next(stream)["id"]
            seen = next(stream)["id"]
            if number == signal.SIGKILL:
                hub.stop(number)
    if number == signal.SIGTERM:
        assert hub.process.returncode is not None
    with serving(home, "--no-demo") as hub:
        served(hub)
        assert is_served(client, hub)
        with client.asked(hub, "GET", last_event_id=seen) as answer:
            (told,) = events(answer)
        lost = json.loads(told["data"])
        assert (lost["id"], lost["error"]["code"]) == (7, -31007)
        stranger = Client(key_of(hub))
        stranger.session = client.session
        with stranger.ask(hub, "ping", {}) as answer:
            assert answer.status == 404


def test_a_second_hub_with_the_same_key_serves_the_session(home, tmp_path):
    with serving(home, "--no-demo") as hub:
        key = key_of(served(hub))
    shutil.copytree(home, tmp_path / "second")
    with serving(home, "--no-demo") as first, serving(tmp_path / "second", "--no-demo") as second:
        client = Client(key).begin(served(first))
        assert is_served(client, first)
        assert is_served(client, served(second))
        assert is_served(client, first)


def test_a_call_that_ended_while_nobody_listened_is_fetched_from_the_real_hub(home):
    with serving(home, "--no-demo") as hub:
        client = Client(key_of(served(hub))).begin(hub)
        slow = {**WORK, "arguments": {"seconds": 0.2, "steps": 3}}
        with client.ask(hub, "tools/call", slow) as answer:
            stream = events(answer)
            assert next(stream)["data"] == ""
            seen = next(stream)["id"]
        with client.asked(hub, "GET", last_event_id=seen) as answer:
            primed, *rest = events(answer)
        assert primed == {"id": seen, "retry": "1000", "data": ""}
        messages = [json.loads(one["data"]) for one in rest]
        assert [one["params"]["progress"] for one in messages[:-1]] == [2, 3]
        assert messages[-1]["result"]["content"][0]["text"] == "done"
