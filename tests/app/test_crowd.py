"""A real hub with very many clients: ten thousand connections, and a hundred calls that wait."""

import json
import resource
import socket
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.network_liar import running
from support.serve_hub import config, serving, until
from support.wire_client import Wire, address, shut

SOAK = (pytest.mark.soak, pytest.mark.timeout(300))
NOBODY = {"io.modelcontextprotocol/clientCapabilities": {}}
CALLING = 50
"""Connections that call while the others are idle."""
LIMITS = "limits: {connections: 11000, keep_alive_ms: 300000}\n"
CONNECTION_KIB = 24
PARKED_KIB = 50


def room_for(files):
    """Open files enough, here and in the processes that are started; or no test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        if hard != resource.RLIM_INFINITY and hard < files:
            pytest.skip(f"this machine lets a process have {hard:,} open files, not {files:,}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


@contextmanager
def a_hub(home, files=None, **more):
    config(home, LIMITS)
    with running() as port, serving(home, "--no-demo", files=files) as hub:
        record = {"name": "s", "url": f"http://127.0.0.1:{port}/old", "rate_limit": None, **more}
        assert hub.ask("POST", "/api/endpoints", record)[0] == 201
        yield hub.until_well("s")
        assert hub.stop() == 0
        assert "Traceback" not in hub.words()


def key(hub):
    return hub.ask("POST", "/api/keys", {"name": "k", "scopes": ["tools"]})[1]["key"]


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Client:
    """One kept-alive connection."""

    def __init__(self, hub, token):
        host, port = address(hub)
        self.sock = socket.create_connection((host, port), 10)
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", **NOBODY}
        params = {"name": "s__well", "arguments": {}, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        body = json.dumps(message).encode()
        self._request = (
            f"POST /mcp HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {token}\r\n"
            "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
            "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: s__well\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def ask(self):
        self.sock.sendall(self._request)

    def hear(self):
        """The tool's text."""
        came = self.sock.recv(65_536)
        assert came.startswith(b"HTTP/1.1 200"), came[:300]
        return json.loads(came.partition(b"\r\n\r\n")[2])["result"]["content"][0]["text"]

    def call(self):
        """How long a call took."""
        began = time.monotonic()
        self.ask()
        assert self.hear() == "well"
        return time.monotonic() - began


def all_call(clients, at_once=CALLING):
    """Each of them, so many at a time; the slowest call."""
    slowest = 0.0
    for first in range(0, len(clients), at_once):
        some = clients[first : first + at_once]
        began = time.monotonic()
        for one in some:
            one.ask()
        for one in some:
            assert one.hear() == "well"
        slowest = max(slowest, time.monotonic() - began)
    return slowest


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=SOAK)])
def test_so_many_connections_stay_open_and_each_is_served(tmp_path, count, capsys):
    room_for(count + 1_000)
    with a_hub(tmp_path / "home", concurrency=64) as hub, ExitStack() as stack:
        token = key(hub)
        with Client(hub, token) as first:
            first.call()
        files, memory = open_files(hub.pid), hub.resident_kib()
        clients = [stack.enter_context(Client(hub, token)) for _ in range(count)]
        assert all_call(clients) < 5
        assert open_files(hub.pid) >= files + count - 2
        each = (hub.resident_kib() - memory) / count
        waited = sorted(one.call() for one in clients[:CALLING] for _ in range(20))
        slowest = all_call(clients)
        with capsys.disabled():
            print(
                f"\n{count:,} connections: {each:.1f} KiB each; a call beside them "
                f"{waited[len(waited) // 2] * 1000:.2f} ms, at the 99th of a hundred "
                f"{waited[len(waited) * 99 // 100] * 1000:.2f} ms; "
                f"{CALLING} at once {slowest * 1000:.0f} ms at most"
            )
        assert each < CONNECTION_KIB
        assert waited[len(waited) // 2] < 1
        stack.close()
        until(lambda: open_files(hub.pid) <= files + 20, what="their end")
        with Client(hub, token) as last:
            assert last.call() < 1


def test_f51_without_files_for_all_of_them_those_too_many_are_told_so(tmp_path):
    """On a system that lets a process have four hundred: a quarter is for all else."""
    with a_hub(tmp_path / "home", files=400) as hub, ExitStack() as stack:
        assert "Fewer connections than the settings allow connections=300" in hub.words()
        token = key(hub)
        clients = [stack.enter_context(Client(hub, token)) for _ in range(600)]
        clients[-1].ask()
        assert clients[-1].sock.recv(100).startswith(b"HTTP/1.1 503")
        assert max(one.call() for one in clients[:20]) < 1
        stack.close()
        with Client(hub, token) as last:
            assert last.call() < 1


def test_a_hundred_calls_wait_for_their_clients_and_each_gets_its_own_answer(tmp_path):
    with (
        a_hub(tmp_path / "home", concurrency=160, private_sessions=140) as hub,
        ExitStack() as all_,
    ):
        new, old = Wire(hub, key(hub)), Wire(hub, key(hub)).begin()
        before = hub.resident_kib()
        asked = [new.call("s__ask") for _ in range(50)]
        assert all(one["result"]["resultType"] == "input_required" for one in asked)
        lives = [
            all_.enter_context(shut(old.legacy("tools/call", {"name": "s__ask", "arguments": {}})))
            for _ in range(50)
        ]
        questions = [live.message()["id"] for live in lives]
        assert in_flight(hub) == 100
        beside = Wire(hub, key(hub))
        waited = sorted(timed(beside) for _ in range(50))
        assert waited[25] < 1
        assert hub.resident_kib() - before < 64 * 1024
        for number, one in reversed(list(enumerate(asked))):
            answer = {"action": "accept", "content": {"name": f"new {number}"}}
            assert f'"new {number}"' in text(new.go_on(one, "s__ask", answer=answer))
        for number, (live, question) in reversed(
            list(enumerate(zip(lives, questions, strict=True)))
        ):
            old.answer(question, {"action": "accept", "content": {"name": f"old {number}"}})
            assert f'"old {number}"' in text(live.last())
        until(lambda: in_flight(hub) == 0, what="the end of all of them")


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=SOAK)])
def test_what_a_call_costs_that_waits_for_its_client_beside_its_servers_session(
    tmp_path, count, capsys
):
    more = {"concurrency": 2 * count, "private_sessions": 2 * count}
    answer = {"action": "accept", "content": {"name": "x"}}
    with a_hub(tmp_path / "home", **more) as hub:
        clients = [Wire(hub, key(hub)) for _ in range(count)]
        for one in clients:
            one.go_on(one.call("s__ask"), "s__ask", answer=answer)
        before = hub.resident_kib()  # Each caller's session is there, and waits for its next call.
        asked = [one.call("s__ask") for one in clients]
        assert in_flight(hub) == count
        each = (hub.resident_kib() - before) / count
        with capsys.disabled():
            print(f"\n{count} calls that wait for their clients: {each:.1f} KiB each")
        assert each < PARKED_KIB
        for one, question in zip(clients, asked, strict=True):
            assert '"x"' in text(one.go_on(question, "s__ask", answer=answer))


def timed(wire):
    began = time.monotonic()
    assert text(wire.call("s__well", meta=NOBODY)) == "well"
    return time.monotonic() - began


def text(message):
    return message["result"]["content"][0]["text"]


def in_flight(hub):
    line = hub.connection()
    line.request("GET", "/metrics", headers={"authorization": f"Bearer {hub.token}"})
    words = line.getresponse().read().decode().split("\nagenthub_calls_in_flight ")
    line.close()
    return int(words[1].split()[0])
