"""News of resources and of tasks, by a real hub of real servers, over the ends of both."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.serve_hub import serving, until
from support.wire_client import Wire, shut

SUPPORT = Path(__file__).parents[1] / "support"
CHANGING = [sys.executable, "-S", str(SUPPORT / "stdio_servers/changing.py")]
UPDATED = "notifications/resources/updated"
SESSION = b"mcp-session-id"
TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}, "elicitation": {}}
WITH_TASKS = {"io.modelcontextprotocol/clientCapabilities": TASKS}


def key(hub):
    return hub.ask("POST", "/api/keys", {"name": "k", "scopes": ["tools"]})[1]["key"]


def subscribers(wire):
    """Of the server's one resource, which changes now."""
    answer = wire.call("change", meta={"io.modelcontextprotocol/clientCapabilities": {}})
    return int(answer["result"]["content"][0]["text"])


def updated(stream):
    """The resource that the next news of one names."""
    while (message := stream.message())["method"] != UPDATED:
        pass
    return message["params"]["uri"]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def add(hub, **record):
    record = {"rate_limit": None, **record}
    assert hub.ask("POST", "/api/endpoints", record)[0] == 201
    hub.until_well(record["name"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_subscription_is_there_again_after_the_hub(home, number):
    """Its client comes back with the id of the last event, and says nothing else."""
    with serving(home, "--no-demo") as hub:
        add(hub, name="s", command=CHANGING)
        token, path = key(hub), "/mcp/s"
        old, beside = Wire(hub, token, path).begin(), Wire(hub, token, path)
        with shut(old.get(path, (SESSION, old.session))) as stream:
            with shut(old.legacy("resources/subscribe", {"uri": "note:1"})) as answer:
                assert answer.last()["result"] == {}
            until(lambda: subscribers(beside) == 1, what="the subscription at the server")
            assert updated(stream) == "note:1"
            last_id = stream.last_id
        hub.stop(number)
    with serving(home, "--no-demo") as hub:
        hub.until_well("s")
        old.hub = beside.hub = hub
        headers = ((SESSION, old.session), (b"last-event-id", last_id.encode()))
        with shut(old.get(path, *headers)) as stream:
            assert updated(stream) == "note:1", "it may have changed meanwhile"
            until(lambda: subscribers(beside) == 1, what="the subscription at the new server")
            assert updated(stream) == "note:1"


@pytest.mark.parametrize("era", ["old", "new"])
def test_a_subscription_is_there_again_after_the_server(home, era):
    with serving(home, "--no-demo") as hub:
        add(hub, name="s", command=CHANGING)
        path = "/mcp/s"
        wire = Wire(hub, key(hub), path)
        if era == "old":
            wire.begin()
            stream = wire.get(path, (SESSION, wire.session))
            with shut(wire.legacy("resources/subscribe", {"uri": "note:1"})) as answer:
                assert answer.last()["result"] == {}
        else:
            stream = wire.listen(resourceSubscriptions=["note:1"])
        with shut(stream):
            until(lambda: subscribers(wire) == 1, what="the subscription")
            assert updated(stream) == "note:1"
            os.kill(hub.server("s")["pid"], signal.SIGKILL)
            until(lambda: _subscribers_if_up(wire) == 1, what="the subscription at the new process")
            assert updated(stream) == "note:1"


def _subscribers_if_up(wire):
    try:
        return subscribers(wire)
    except KeyError:
        return None


@pytest.fixture
def tasks_server():
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        port = one.getsockname()[1]
    command = [sys.executable, SUPPORT / "tasks_server.py", "--port", str(port)]
    process = subprocess.Popen(command)
    yield f"http://127.0.0.1:{port}/mcp"
    process.terminate()
    process.wait(10)


def test_news_of_a_task_reach_the_client_that_began_it_and_nobody_else(home, tasks_server):
    with serving(home, "--no-demo") as hub:
        add(hub, name="t", url=tasks_server)
        wire, other = Wire(hub, key(hub), "/mcp/t"), Wire(hub, key(hub), "/mcp/t")
        begun = wire.call("confirm_delete", {"filename": "a"}, meta=WITH_TASKS)["result"]
        assert begun["resultType"] == "task"
        task = begun["taskId"]
        with shut(listen(wire, task)) as stream, shut(listen(other, task)) as beside:
            assert stream.message()["params"]["notifications"] == {"taskIds": [task]}
            assert beside.message()["params"]["notifications"] == {}, "it is not that client's"

            def ask(method, **more):
                params = {"taskId": task, **more}
                return wire.modern(method, params, meta=WITH_TASKS, name=task.encode())["result"]

            until(lambda: ask("tasks/get")["status"] == "input_required", what="the question")
            answers = {"confirm": {"action": "accept", "content": {}}}
            ask("tasks/update", inputResponses=answers)
            told = []
            while not told or told[-1]["status"] != "completed":
                told.append(stream.message()["params"])
            assert all(one["taskId"] == task for one in told)
            assert told[-1]["result"]["content"][0]["text"] == "accept a"


def listen(wire, task):
    return wire.listen(WITH_TASKS, taskIds=[task])
