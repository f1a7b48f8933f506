"""A legacy server that floods its stdout with valid messages. Not a test."""

import json
import os

from base import serve, text

FLOODS = {
    "answers": {"id": 10**9, "result": {}},
    "notes": {"method": "notifications/x"},
    "logs": {"method": "notifications/message", "params": {"level": "info", "data": "x" * 9_000}},
    "requests": {"id": "q", "method": "roots/list"},
    "pings": {"id": 1, "method": "ping"},
    "lists": {"method": "notifications/tools/list_changed"},
}


def flood(message, times=None):
    line = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
    chunk = line * max(1, 60_000 // len(line))
    while times is None or times > 0:
        os.write(1, chunk)
        if times is not None:
            times -= len(chunk) // len(line)


def call(message, arguments):
    if arguments.get("kind") == "progress":
        token = message["params"]["_meta"]["progressToken"]
        params = {"progressToken": token, "progress": 1}
        flood({"method": "notifications/progress", "params": params}, arguments.get("times"))
    text(message, "done")
    if kind := FLOODS.get(arguments.get("kind")):
        flood(kind, arguments.get("times"))


serve(call)
