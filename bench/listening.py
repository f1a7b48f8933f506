"""Clients that only listen: what each `subscriptions/listen` costs, and how soon news reach all."""

import http.client
import json
import selectors
import socket
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from caller import META, MODERN
from process import memory_kib
from subject import Hub, Upstream

LISTENERS = 2_000
PER_KEY = 100
"""So many a key may have open."""
SETTLE_S = 1.0
PATIENCE_S = 10
REACH_MS = 1_000
LISTENER_KIB = 60
CHANGED = b"notifications/tools/list_changed"


def listening(home: Path, upstream: Upstream) -> dict[str, Any]:
    """KiB for each listener, and the ms from a change until the last of them has heard of it."""
    hub = Hub(home, {"bench": upstream.url}, "/mcp")
    keys = [hub.key(f"listener-{number}") for number in range(LISTENERS // PER_KEY)]
    hub.start()
    with hub.process, ExitStack() as stack:
        time.sleep(SETTLE_S)
        before = memory_kib(hub.process.pid)
        clients = [_listen(stack, hub, keys[at // PER_KEY]) for at in range(LISTENERS)]
        time.sleep(SETTLE_S)
        after = memory_kib(hub.process.pid)
        began = time.monotonic_ns()
        _add_server(hub, upstream)
        heard, last_ns = _hear(clients)
    return {
        "listeners": LISTENERS,
        "listener_kib": (after["pss"] - before["pss"]) / LISTENERS,
        "heard": heard,
        "reach_ms": (last_ns - began) / 1e6,
    }


def _listen(stack: ExitStack, hub: Hub, key: str) -> socket.socket:
    """A stream that is open and acknowledged."""
    params = {"notifications": {"toolsListChanged": True}, "_meta": META}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    body = json.dumps(message).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    client = stack.enter_context(closing(socket.create_connection(("127.0.0.1", hub.port))))
    client.settimeout(PATIENCE_S)
    client.sendall(head.encode() + body)
    came = b""
    while b"acknowledged" not in came:
        came += client.recv(65_536)
    return client


def _add_server(hub: Hub, upstream: Upstream) -> None:
    """The lists of the hub change: it has one server more."""
    token = (hub.home / "admin-token").read_text().strip()
    record = json.dumps({"name": "late", "url": upstream.url + "/late"})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)) as connection:
        connection.request("POST", "/api/endpoints", record, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != http.client.CREATED:
            raise OSError(f"no server was added: {said[:300]!r}")


def _hear(clients: list[socket.socket]) -> tuple[int, int]:
    """How many heard that the lists changed, and when the last of them did."""
    heard, last_ns = 0, time.monotonic_ns()
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ)
        until = time.monotonic() + PATIENCE_S
        while heard < len(clients) and time.monotonic() < until:
            for ready, _ in selector.select(0.5):
                client = ready.fileobj
                assert isinstance(client, socket.socket)
                if CHANGED in client.recv(65_536):
                    heard, last_ns = heard + 1, time.monotonic_ns()
                    selector.unregister(client)
    return heard, last_ns


def too_slow(found: dict[str, Any] | None) -> list[str]:
    """What is over its bound, in words."""
    if found is None:
        return []
    wrong = []
    if found["heard"] < found["listeners"]:
        wrong.append(f"listening: {found['heard']} of {found['listeners']} heard of the change")
    if found["reach_ms"] > REACH_MS:
        wrong.append(f"listening: {found['reach_ms']:.0f} ms to the last, allowed is {REACH_MS}")
    if found["listener_kib"] > LISTENER_KIB:
        wrong.append(f"listening: {found['listener_kib']:.1f} KiB each, allowed is {LISTENER_KIB}")
    return wrong
