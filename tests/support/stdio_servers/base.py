"""A legacy MCP server in few lines, for servers that misbehave to build on. Not a test."""

import json
import sys
import threading

LOCK = threading.Lock()


def say(message):
    raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def raw(data):
    with LOCK:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def text(message, value, **more):
    say({"id": message["id"], "result": {"content": [{"type": "text", "text": value}], **more}})


def initialized(message):
    result = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": True}, "logging": {}},
        "serverInfo": {"name": "odd", "version": "1"},
        "instructions": "be kind",
    }
    say({"id": message["id"], "result": result})


def serve(call, *, other=None):
    """`call(message, arguments)` for tools; `other(message)` is True if it took the message."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        method = message.get("method")
        if other is not None and other(message):
            continue
        if method == "initialize":
            initialized(message)
        elif method == "ping":
            say({"id": message["id"], "result": {}})
        elif method == "tools/call":
            call(message, message["params"].get("arguments", {}))
        elif method is not None and "id" in message:
            say({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})
