"""`agenthub stdio`: one client, whether a hub runs with the home or not."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from support.serve_hub import config, environment, serving, until, until_gone, yaml_server

from agenthub.app.hub_file import find

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


class Client:
    """A client of either era, at the other end of the pipes."""

    def __init__(self, process):
        self.process = process
        self.number = 0

    def send(self, method, params=None, **more):
        message = {"jsonrpc": "2.0", "method": method, **more}
        if params is not None:
            message["params"] = params
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method, params=None):
        """The answer to it; what comes between is passed by."""
        self.number += 1
        self.send(method, params, id=self.number)
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read().decode()
            message = json.loads(line)
            if message.get("id") == self.number:
                return message.get("result") or message["error"]

    def initialize(self):
        said = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t"}}
        answer = self.ask("initialize", said)
        self.send("notifications/initialized")
        return answer

    def tools(self, **more):
        return [tool["name"] for tool in self.ask("tools/list", more)["tools"]]

    def call(self, tool, arguments, **more):
        return self.ask("tools/call", {"name": tool, "arguments": arguments, **more})


@contextmanager
def client(home, *options):
    process = subprocess.Popen(
        [sys.executable, "-m", "agenthub", "stdio", "--home", home, *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
        start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield Client(process)
            process.stdin.close()
            assert process.wait(10) == 0
            assert all(json.loads(line)["jsonrpc"] for line in process.stdout)
        finally:
            process.kill()


class TestAlone:
    def test_a_client_of_the_old_era_is_served_all_tools_at_its_first_question(self, home):
        with client(home) as one:
            assert one.initialize()["protocolVersion"] == "2025-06-18"
            assert "calculator__add" in one.tools()
            answer = one.call("calculator__add", {"a": 2, "b": 3})
            assert answer["content"][0]["text"] == "5"

    def test_a_client_of_the_new_era_too(self, home):
        with client(home) as one:
            assert "2026-07-28" in one.ask("server/discover", {"_meta": META})["supportedVersions"]
            assert "calculator__add" in one.tools(_meta=META)
            answer = one.call("calculator__add", {"a": 2, "b": 3}, _meta=META)
            assert answer["structuredContent"] == {"result": 5}

    def test_a_hung_server_holds_it_up_for_no_longer_than_is_said(self, home):
        config(home, "endpoints:\n" + yaml_server("hung", sys.executable, "-c", "input()"))
        started = time.monotonic()
        with client(home) as one:
            one.initialize()
            assert one.tools() == []
            assert time.monotonic() - started < 4

    def test_its_servers_end_with_it(self, home):
        from support.serve_hub import descendants

        with client(home) as one:
            one.initialize()
            family = until(lambda: f if len(f := descendants(one.process.pid)) == 5 else None)
        until_gone(family, 5)

    def test_a_signal_ends_it(self, home):
        with client(home) as one:
            one.initialize()
            one.process.send_signal(signal.SIGTERM)
            assert one.process.wait(5) == 0

    def test_a_home_that_cannot_be_used_is_told_in_words(self, home):
        home.write_text("")
        with subprocess.Popen(
            [sys.executable, "-m", "agenthub", "stdio", "--home", home / "x"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            out, words = process.communicate(timeout=10)
        assert (process.returncode, out) == (1, b"")
        assert words.startswith(b"error: ")
        assert b"Not a directory" in words


class TestBesideAHub:
    def test_it_is_a_way_to_the_hub_that_runs(self, home):
        with serving(home) as hub:
            hub.until_well("calculator", "flaky")
            pid = hub.server("calculator")["pid"]
            with client(home) as one, client(home) as other:
                one.initialize()
                assert "calculator__add" in one.tools()
                assert "calculator__add" in other.tools(_meta=META)
                for answer in (
                    one.call("calculator__add", {"a": 2, "b": 3}),
                    other.call("calculator__add", {"a": 2, "b": 3}, _meta=META),
                ):
                    assert answer["content"][0]["text"] == "5"
                refused = one.call("calculator__add", {"a": 2})
                assert refused["code"] == -32602
                failed = one.call("flaky__nothing", {})
                assert failed["code"] == -32602
            assert hub.server("calculator")["pid"] == pid
            calls = until(lambda: hub.get("/api/calls")["calls"], what="the log")
            assert {(call["door"], call["caller"]) for call in calls} == {("mcp", "admin")}

    def test_it_has_nothing_to_warn_of(self, home):
        with serving(home) as hub:
            hub.until_well("calculator")
            with client(home) as one:
                one.initialize()
                assert "calculator__add" in one.tools()
                one.process.stdin.close()
                assert one.process.stderr.read() == b""

    def test_its_errors_are_the_hubs_own(self, home):
        with serving(home, "--no-demo") as hub:
            hub.ask("POST", "/api/endpoints", {"name": "one", "command": CALCULATOR})
            hub.until_well("one")
            word = {"reason": "test"}
            assert hub.ask("POST", "/api/gateway/circuit-breaker/one/open", word)[0] == 200
            with client(home) as one:
                for _ in range(12):
                    answer = one.call("one__add", {"a": 1, "b": 1}, _meta=META)
                    assert (answer["code"], answer["data"]["server"]) == (-31001, "one")

    def test_a_tool_that_comes_later_is_told_of(self, home):
        with serving(home, "--no-demo") as hub, client(home) as one:
            one.initialize()
            assert one.tools() == []
            hub.ask("POST", "/api/endpoints", {"name": "late", "command": CALCULATOR})
            line = json.loads(one.process.stdout.readline())
            assert line["method"] == "notifications/tools/list_changed"
            until(lambda: "late__add" in one.tools(), what="the tool")

    def test_it_finds_the_hub_again_at_another_address(self, home):
        with serving(home) as hub:
            hub.until_well("calculator")
            with client(home) as one:
                one.initialize()
                assert "5" in json.dumps(one.call("calculator__add", {"a": 2, "b": 3}))
                hub.stop()
                with serving(home, log=f"{home}-2") as again:
                    again.until_well("calculator")
                    until(
                        lambda: "content" in one.call("calculator__add", {"a": 2, "b": 3}),
                        what="the way to the new hub",
                    )

    def test_two_at_once_share_one_hub(self, home):
        with client(home) as one, client(home) as two:
            one.initialize()
            two.initialize()
            assert "calculator__add" in one.tools()
            assert "calculator__add" in two.tools()
            assert find(home).pid in {one.process.pid, two.process.pid}
            first, second = (one, two) if find(home).pid == two.process.pid else (two, one)
            # The one that is the hub has to end last.
            first.process.stdin.close()
            assert first.process.wait(10) == 0
            assert "calculator__add" in second.tools()
