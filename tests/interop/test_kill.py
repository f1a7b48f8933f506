"""kill -9 of the hub with fifty calls that wait for their clients and fifty that run."""

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from support.interop_clients import INSTALLED, INTEROP, environment, free_port, listens
from support.real_hub import RealHub, family, gone, wait_for

PROGRAM = (str(INSTALLED / "python" / "bin" / "python"), str(INTEROP / "server_mcp1.py"))
OVER_HTTP = [f"p{number}" for number in range(46)]
OVER_STDIO = [f"q{number}" for number in range(4)]
"""Each has a process of its own."""
IN_FLIGHT = [f"f{number}" for number in range(50)]
OUTCOME_UNKNOWN = -31007
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "kill", "version": "1"},
}
PATIENCE_S = 40


class Caller:
    """A client of the new era, down to its bytes."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def call(self, server: str, tool: str, word: str, **more: Any) -> dict[str, Any]:
        """The whole answer. Raises httpx2.TransportError when the connection closes."""
        declared = {"elicitation": {}} if tool == "elicit" else {}
        meta = {**META, "io.modelcontextprotocol/clientCapabilities": declared}
        if tool == "wait":
            meta["io.agenthub/idempotencyKey"] = f"key-{word}"
        params = {"name": tool, "arguments": {"word": word}, "_meta": meta, **more}
        body = {"jsonrpc": "2.0", "id": word, "method": "tools/call", "params": params}
        headers = {
            "Accept": "application/json, text/event-stream", "Mcp-Method": "tools/call",
            "Mcp-Name": tool, "MCP-Protocol-Version": "2026-07-28",
        }  # fmt: skip
        answer = await self._http.post(f"{self._url}/mcp/{server}", json=body, headers=headers)
        return answer.json()


def add(hub: RealHub, name: str, **more: Any) -> None:
    """A server with room: one caller may park nine sixteenths of it."""
    record = {"name": name, "rate_limit": None, "concurrency": 100, **more}
    token = (hub.home / "admin-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx2.post(f"{hub.url}/api/endpoints", json=record, headers=headers)
    assert answer.status_code == 201, answer.text


def places() -> list[tuple[str, str]]:
    return [("oldhttp", one) for one in OVER_HTTP] + [("oldpipe", one) for one in OVER_STDIO]


def connections() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=200)
    return httpx2.AsyncClient(limits=limits, timeout=PATIENCE_S, trust_env=False)


def waits(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if " wait " in line]


async def until_killed(hub: RealHub, log: Path) -> tuple[list[dict[str, Any]], set[int]]:
    """The answers to the calls that were parked, and the processes that the hub had."""
    async with connections() as http:
        caller = Caller(hub.url, http)
        asked = [caller.call(server, "elicit", word) for server, word in places()]
        parked = await asyncio.gather(*asked)
        assert {one["result"]["resultType"] for one in parked} == {"input_required"}
        running = [
            asyncio.ensure_future(caller.call("oldpipe", "wait", word)) for word in IN_FLIGHT
        ]
        await asyncio.to_thread(wait_for, lambda: len(waits(log)) == len(IN_FLIGHT), PATIENCE_S)
        below = family(hub.pid) - {hub.pid}
        hub.kill()
        ends = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(one, httpx2.TransportError) for one in ends), ends
    return parked, below


async def after_the_restart(
    hub: RealHub, parked: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the clients hear who go on, and those who call again with their key."""
    accept = {"action": "accept", "content": {"town": "Seoul"}}
    async with connections() as http:
        caller = Caller(hub.url, http)
        rounds = []
        for (server, word), one in zip(places(), parked, strict=True):
            told = one["result"]
            answers = dict.fromkeys(told["inputRequests"], accept)
            again = {"inputResponses": answers, "requestState": told["requestState"]}
            rounds.append(caller.call(server, "elicit", word, **again))
        keyed = [caller.call("oldpipe", "wait", word) for word in IN_FLIGHT]
        return await asyncio.gather(*rounds), await asyncio.gather(*keyed)


@pytest.mark.timeout(180)
def test_what_a_killed_hub_leaves_is_told_truly_and_run_once(tmp_path):
    port, log = free_port(), tmp_path / "log"
    log.touch()
    words = (*PROGRAM, "oldhttp", str(tmp_path), "http", str(port))
    server = subprocess.Popen(words, stdout=sys.stderr)
    home, loopback = tmp_path / "home", {"AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "true"}
    try:
        wait_for(lambda: listens(port), PATIENCE_S)
        with RealHub(home, environment(), **loopback) as hub:
            add(hub, "oldhttp", url=f"http://127.0.0.1:{port}/mcp", private_sessions=100)
            add(hub, "oldpipe", command=[*PROGRAM, "oldpipe", str(tmp_path), "stdio"])
            hub.ready("oldhttp", "oldpipe", seconds=PATIENCE_S)
            parked, below = asyncio.run(until_killed(hub, log))
        assert len(below) >= 1 + len(OVER_STDIO)
        wait_for(lambda: gone(below), 10)
        with RealHub(home, environment(), **loopback) as hub:
            hub.ready("oldhttp", "oldpipe", seconds=PATIENCE_S)
            expired, unknown = asyncio.run(after_the_restart(hub, parked))
    finally:
        server.kill()
        server.wait()
    assert {one["error"]["code"] for one in expired} == {-32602}
    assert {one["error"]["code"] for one in unknown} == {OUTCOME_UNKNOWN}
    begun = Counter(line for line in log.read_text().splitlines() if "cancelled" not in line)
    expected = {f"{server} elicit {word}" for server, word in places()}
    expected |= {f"oldpipe wait {word}" for word in IN_FLIGHT}
    assert begun == Counter(expected)
