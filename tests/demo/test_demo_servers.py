"""The demo servers, spoken to as a client would: line by line, in both eras."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.stdio_hub import House, text_of

from agenthub.domain.outcome import Ending

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Talk:
    def __init__(self, module: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"agenthub.demo.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._ids = 0

    def raw(self, line: bytes) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, method: str, params: object = None) -> Any:
        self._ids += 1
        message = {"jsonrpc": "2.0", "id": self._ids, "method": method}
        if params is not None:
            message["params"] = params
        answer = self.raw(json.dumps(message).encode())
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == self._ids
        return answer

    def tool(self, name: str, **arguments: object) -> Any:
        return self.ask("tools/call", {"name": name, "arguments": arguments})["result"]


@pytest.fixture
def calculator() -> Iterator[Talk]:
    talk = Talk("calculator")
    yield talk
    talk.process.communicate(timeout=5)
    assert talk.process.returncode == 0, "the end of stdin is the end of the server"


@pytest.mark.parametrize(
    ("name", "a", "b", "text"),
    [
        ("add", 2, 3, "5"),
        ("add", 0.5, 1, "1.5"),
        ("add", 10**30, 1, "1000000000000000000000000000001"),
        ("subtract", 2, 3, "-1"),
        ("multiply", 4, 2.5, "10.0"),
        ("divide", 6, 3, "2"),
        ("divide", 1, 2, "0.5"),
    ],
)
def test_it_calculates(calculator: Talk, name: str, a: float, b: float, text: str):
    result = calculator.tool(name, a=a, b=b)
    assert result["content"] == [{"type": "text", "text": text}]
    assert result["structuredContent"] == {"result": json.loads(text)}
    assert result["isError"] is False


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("divide", {"a": 1, "b": 0}, "Division by zero"),
        ("multiply", {"a": 1e308, "b": 10}, "The result is too large"),
        ("divide", {"a": 10**400, "b": 3}, "The result is too large"),
        ("multiply", {"a": 10**3000, "b": 10**3000}, "The result is too large"),
        ("add", {"a": 1}, "Missing argument: b"),
        ("add", {"a": 1, "b": "2"}, "b must be of type number"),
        ("add", {"a": 1, "b": True}, "b must be of type number"),
        ("add", {"a": 1, "b": 2, "c": 3}, "Unknown argument: c"),
    ],
)
def test_bad_news_is_for_the_model_to_read(
    calculator: Talk, name: str, arguments: dict[str, object], text: str
):
    result = calculator.tool(name, **arguments)
    assert result == {"content": [{"type": "text", "text": text}], "isError": True}


def test_the_tools_are_read_only_and_idempotent(calculator: Talk):
    tools = calculator.ask("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in tools] == ["add", "subtract", "multiply", "divide"]
    for tool in tools:
        assert tool["annotations"]["readOnlyHint"]
        assert tool["annotations"]["idempotentHint"]


def test_modern_results_say_what_they_are_and_how_long_they_keep(calculator: Talk):
    found = calculator.ask("server/discover", {"_meta": META})["result"]
    assert found["supportedVersions"] == ["2026-07-28"]
    listed = calculator.ask("tools/list", {"_meta": META})["result"]
    for result in (found, listed):
        assert result["resultType"] == "complete"
        assert result["cacheScope"] == "public"
        assert result["ttlMs"] > 0
        info = result["_meta"]["io.modelcontextprotocol/serverInfo"]
        assert info["name"] == "agenthub-calculator"
    called = calculator.ask(
        "tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}, "_meta": META}
    )["result"]
    assert called["resultType"] == "complete"
    assert "ttlMs" not in called


@pytest.mark.parametrize(
    ("wanted", "got"),
    [("2024-11-05", "2024-11-05"), ("2025-11-25", "2025-11-25"), ("1999", "2025-11-25")],
)
def test_initialize_agrees_on_a_version(calculator: Talk, wanted: str, got: str):
    result = calculator.ask("initialize", {"protocolVersion": wanted})["result"]
    assert result["protocolVersion"] == got
    assert "resultType" not in result
    assert calculator.ask("ping")["result"] == {}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nonsense", {}, -32601),
        ("tools/call", {"name": "nonsense"}, -32602),
        ("tools/call", {"name": ["add"]}, -32602),
        ("tools/call", {"name": "add", "arguments": [1, 2]}, -32602),
        ("tools/list", [1], -32602),
        ("tools/list", {"_meta": 1}, -32602),
        ("server/discover", {}, -32602),
        ("ping", {"_meta": META}, -32601),
        ("initialize", {"_meta": META}, -32601),
        (
            "tools/list",
            {"_meta": {**META, "io.modelcontextprotocol/clientCapabilities": 1}},
            -32602,
        ),
    ],
)
def test_a_wrong_request_is_an_error(calculator: Talk, method: str, params: object, code: int):
    assert calculator.ask(method, params)["error"]["code"] == code


def test_another_version_is_refused_with_those_it_speaks(calculator: Talk):
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    error = calculator.ask("tools/list", {"_meta": meta})["error"]
    assert error["code"] == -32022
    assert error["data"]["requested"] == "2030-01-01"
    assert "2026-07-28" in error["data"]["supported"]


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"nonsense", -32700), (b"[1]", -32600), (b'{"id":null,"method":1}', -32600)],
)
def test_what_is_no_request_is_refused_and_life_goes_on(calculator: Talk, line: bytes, code: int):
    assert calculator.raw(line)["error"]["code"] == code
    assert calculator.raw(b'\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
                          b'{"jsonrpc":"2.0","id":9,"method":"ping"}')["id"] == 9  # fmt: skip


def test_it_starts_quickly():
    def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def started() -> float:
        """Its CPU time: what else the machine does is not counted."""
        before = cpu()
        talk = Talk("calculator")
        talk.ask("ping")
        talk.process.communicate(timeout=5)
        return cpu() - before

    assert min(started() for _ in range(5)) < 0.3


FLAKY = (sys.executable, "-m", "agenthub.demo.flaky")


async def test_flaky_fails_as_it_is_told():
    async with House(FLAKY) as house:
        await house.up()
        assert text_of(await house.call("echo", text="hi")) == "hi"
        assert text_of(await house.call("work")) == "done"
        await house.call("set_mode", mode="error")
        assert (await house.call("work")).is_error
        await house.call("set_mode", mode="hang")
        work, _ = house.begin("work", seconds=0.3)
        assert text_of(await house.call("echo", text="others go on")) == "others go on"
        assert (await work.reply).ending is Ending.CANCELLED
        await house.call("set_mode", mode="crash")
        lost = await house.call("work")
        assert (lost.ending, lost.detail[:19]) == (Ending.LOST, "exited with code 70")
        assert text_of(await house.call("work")) == "done"


async def test_flaky_is_slow_for_as_long_as_it_is_told():
    async with House(FLAKY) as house:
        await house.up()
        await house.call("set_mode", arguments={"mode": "slow", "seconds": 0.2})
        began = time.monotonic()
        assert text_of(await house.call("work")) == "done"
        assert 0.2 <= time.monotonic() - began < 1


async def test_flaky_refuses_modes_that_it_does_not_know():
    async with House(FLAKY) as house:
        await house.up()
        assert "must be one of ok, error, slow" in text_of(await house.call("set_mode", mode="x"))
        assert (await house.call("set_mode", arguments={"mode": "slow", "seconds": -1})).is_error
