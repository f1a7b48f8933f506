"""A legacy server whose tools do what the contract of ports.Upstream speaks of. Not a test."""

import json
import os
import time

from base import raw, say, serve, text

ASKING = []


def call(message, _arguments):
    name, number = message["params"]["name"], message["id"]
    if name == "echo":
        text(message, "5")
    elif name == "tool_error":
        say({"id": number, "result": {"content": [], "isError": True}})
    elif name in {"refuse", "inside"}:
        say(
            {"id": number, "error": {"code": {"refuse": -32602}.get(name, -32603), "message": "no"}}
        )
    elif name == "die":
        os._exit(3)
    elif name == "shape":
        say({"id": number, "result": 7})
    elif name == "huge":
        raw(b"x" * 1_000_000 + b"\n")
    elif name == "notes":
        for step in (1, 2, 3):
            token = message["params"]["_meta"]["progressToken"]
            say(
                {
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": step},
                }
            )
            time.sleep(0.15)
        text(message, "5")
    elif name == "ask":
        ASKING.append(message)
        say(
            {
                "id": "q",
                "method": "elicitation/create",
                "params": {"message": "Name?", "requestedSchema": {}},
            }
        )


def answered(message):
    if "method" in message:
        return False
    text(ASKING.pop(), json.dumps({k: v for k, v in message.items() if k in {"result", "error"}}))
    return True


serve(call, other=answered)
