"""What the hub costs beside calls: memory, clients that only wait, long lists, start and stop."""

import http.client
import json
import resource
import signal
import socket
import statistics
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from caller import LOAD_TIMEOUT_S, META, Caller, Load
from process import memory_kib
from subject import Hub, Upstream

SETTLE_S = 1.0
"""So long a hub is left alone before its memory is read."""
STARTS = 5
STOP_LOOK_S = 0.02
"""How often the calls so far are counted, to stop the hub in their middle."""


def calls_upstream(hub: Hub, upstream: Upstream, calls: int = 2_000) -> dict[str, float]:
    """Upstream requests and new connections for each call, in steady state."""
    load = Load(hub.caller, "echo", 16)
    load.run(1_000)
    before = upstream.stats()
    load.run(calls)
    after = upstream.stats()
    # Asking for the figures is one connection itself.
    return {
        "requests": (after["posts"] - before["posts"]) / calls,
        "connections": (after["conns"] - before["conns"] - 1) / calls,
    }


def start_ms(home: Path, upstream: Upstream) -> dict[str, float]:
    """From the start of the process to its first answered call."""
    hub = Hub(home, {"bench": upstream.url})
    took = []
    for _ in range(STARTS):
        took.append(hub.start())
        hub.process.stop()
    return {"median": statistics.median(took), "worst": max(took), "first": took[0]}


def idle_memory(home: Path, upstream: Upstream, servers: int = 10) -> dict[str, float]:
    """MiB of all processes with ten HTTP servers that nobody calls, and KiB for each client."""
    urls = {f"bench{at}": f"{upstream.url}/{at}" for at in range(servers)}
    hub = Hub(home, urls, "/mcp")
    hub.start()
    with hub.process:
        time.sleep(SETTLE_S)
        before = memory_kib(hub.process.pid)
        clients = 2_000
        with ExitStack() as stack:
            _wait_as_clients(stack, hub, clients)
            time.sleep(SETTLE_S)
            after = memory_kib(hub.process.pid)
    return {
        "rss_mib": before["rss"] / 1024,
        "pss_mib": before["pss"] / 1024,
        "client_kib": (after["pss"] - before["pss"]) / clients,
        "clients": clients,
    }


def _wait_as_clients(stack: ExitStack, hub: Hub, clients: int) -> None:
    """Connections that called once and stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < clients + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, clients + 1000), hard))
    name = hub.caller.tool_names()["echo"]
    request = hub.caller.request("echo", name, None).replace(b"@" * 8, b"10000000")
    for _ in range(clients):
        client = stack.enter_context(closing(socket.create_connection(("127.0.0.1", hub.port))))
        client.sendall(request)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def many_tools(home: Path, servers: int = 200, tools: int = 50) -> dict[str, float]:
    """`tools/list` of all servers in ms, and the hub's memory with them."""
    upstream = Upstream(tools=tools)
    with upstream.process:
        urls = {f"bench{at}": f"{upstream.url}/{at}" for at in range(servers)}
        hub = Hub(home, urls, "/mcp")
        hub.start()
        with hub.process:
            listed = _all_listed(hub.caller, servers * tools)
            took = []
            for _ in range(50):
                began = time.monotonic_ns()
                pages, size = _list_once(hub.caller)
                took.append((time.monotonic_ns() - began) / 1e6)
            time.sleep(SETTLE_S)
            memory = memory_kib(hub.process.pid)
    return {
        "tools": listed,
        "pages": pages,
        "bytes": size,
        "list_ms_p50": statistics.median(took),
        "list_ms_max": max(took),
        "rss_mib": memory["rss"] / 1024,
        "pss_mib": memory["pss"] / 1024,
    }


def _all_listed(caller: Caller, wanted: int, seconds: float = 60) -> int:
    until, count = time.monotonic() + seconds, 0
    while count < wanted and time.monotonic() < until:
        count, cursor = 0, ""
        while cursor is not None:
            result, _ = caller.rpc("tools/list", {"cursor": cursor} if cursor else {})
            count += len(result["tools"])
            cursor = result.get("nextCursor")
        time.sleep(0.2)
    return count


def _list_once(caller: Caller) -> tuple[int, int]:
    """Every page over one connection, read but not parsed; gives pages and bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", caller.port, timeout=30)
    pages, size, cursor = 0, 0, b""
    with closing(connection):
        while pages == 0 or cursor:
            params: dict[str, Any] = {"_meta": META}
            if cursor:
                params["cursor"] = cursor.decode()
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
            connection.request(
                "POST", caller.path, json.dumps(body), caller.headers_of("tools/list")
            )
            raw = connection.getresponse().read()
            pages, size = pages + 1, size + len(raw)
            _, found, after = raw.rpartition(b'"nextCursor":"')
            cursor = after.split(b'"', 1)[0] if found else b""
    return pages, size


def stop_under_load(home: Path, upstream: Upstream, calls: int) -> dict[str, float]:
    """SIGTERM when half of the calls are under way: is each that was answered in the log, once?"""
    hub = Hub(home, {"bench": upstream.url})
    hub.start()
    hub.rows_soon(1)
    before, sent_before = hub.rows(), upstream.stats()["tools_call"]
    load = Load(hub.caller, "echo", 64)
    client = subprocess.Popen(
        load.command(calls), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    sent = 0
    while sent < calls // 2 and client.poll() is None and hub.process.code is None:
        time.sleep(STOP_LOOK_S)
        sent = upstream.stats()["tools_call"] - sent_before
    hub.process.terminate()
    told_ns = time.monotonic_ns()
    out, _ = client.communicate(timeout=LOAD_TIMEOUT_S)
    hub.process.ends()
    took_ms = (time.monotonic_ns() - told_ns) / 1e6
    hub.process.stop()
    return {
        "offered": calls,
        "sent_at_sigterm": sent,
        "answered": calls - json.loads(out)["errors"],
        "reached_upstream": upstream.stats()["tools_call"] - sent_before,
        "rows": hub.rows() - before,
        "rows_twice": hub.rows() - hub.rows(distinct=True),
        "stop_ms": took_ms,
        "exit_code": -signal.SIGKILL if hub.process.code is None else hub.process.code,
    }
