"""The hub of a home that nobody runs, for one command."""

import asyncio
import json
import os
import sys
import time

import pytest
from support.hanging import hung_command
from support.serve_hub import config, serving

from agenthub.app import offline
from agenthub.domain.errors import BadSetting, StorageFailed
from agenthub.outbound.home import holder

CALCULATOR = [sys.executable, "-m", "agenthub.demo.calculator"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AGENTHUB")]:
        monkeypatch.delenv(name)
    return tmp_path / "home"


async def ask(door, method, path, body=None):
    status, data = await door.request(
        method, path, b"" if body is None else json.dumps(body).encode()
    )
    return status, json.loads(data) if data else None


async def test_what_it_is_told_is_there_when_a_hub_starts(home):
    async with offline(home, []) as door:
        new = {"name": "mine", "command": CALCULATOR}
        assert (await ask(door, "POST", "/api/endpoints", new))[0] == 201
        assert (await ask(door, "GET", "/api/endpoints/%6dine"))[0] == 200
        assert (await ask(door, "GET", "/api/endpoints?nonsense=1"))[0] == 400
        assert holder(home) is None, "a command signs nothing: a hub that starts waits for it"
    async with offline(home, ["mine"]) as door:
        call = {"server": "mine", "tool": "add", "arguments": {"a": 2, "b": 3}}
        status, answer = await ask(door, "POST", "/api/tools/call", call)
        assert (status, answer["result"]["structuredContent"]) == (200, {"result": 5})
        assert answer["served_by"] == "mine"


async def test_it_can_be_opened_again_and_again(home):
    """A module of the function's name would take its place with the first use."""
    import agenthub.app

    for _ in range(2):
        async with agenthub.app.offline(home, []) as door:
            assert (await ask(door, "GET", "/api/keys"))[0] == 200
    for name in ("offline", "stdio", "serve"):
        assert callable(getattr(agenthub.app, name))


async def test_only_those_that_are_needed_are_started(home):
    async with offline(home, ["flaky", "unknown"]) as door:
        _, views = await ask(door, "GET", "/api/endpoints")
        assert {v["name"]: v["connected"] for v in views["endpoints"]} == {
            "calculator": False, "calculator-twin": False, "flaky": True, "demo": False,
        }  # fmt: skip


async def test_all_of_them_are_connected_when_all_are_wanted(home):
    async with offline(home, None) as door:
        _, tools = await ask(door, "GET", "/api/tools")
        assert len(tools["tools"]) == 11


async def test_a_server_that_hangs_is_waited_for_no_longer_than_is_said(home, monkeypatch):
    monkeypatch.setattr("agenthub.app.in_process.SETTLE_S", 0.3)
    config(home, "endpoints: {hung: " + json.dumps({"command": hung_command()}) + "}\n")
    started = time.monotonic()
    async with offline(home, None) as door:
        _, views = await ask(door, "GET", "/api/endpoints")
        assert views["endpoints"][0]["health"] == "starting"
    assert time.monotonic() - started < 5


async def test_a_command_does_not_wait_for_what_is_switched_off(home):
    config(home, "endpoints: {off: {command: [x], enabled: false}}\n")
    async with asyncio.timeout(4), offline(home, None) as door:
        assert (await ask(door, "GET", "/api/endpoints"))[0] == 200


def test_a_home_whose_hub_runs_is_refused(home):
    async def look():
        async with offline(home, []):
            pass

    with serving(home, "--no-demo"), pytest.raises(StorageFailed, match="Another hub"):
        asyncio.run(look())


async def test_wrong_settings_are_refused(home):
    config(home, "nonsense: 1\n")
    with pytest.raises(BadSetting, match="nonsense: unknown key"):
        async with offline(home, []):
            pass
