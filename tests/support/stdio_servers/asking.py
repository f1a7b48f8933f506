"""A legacy server whose tools ask the client, several things at a time. Not a test."""

import json
import os
import queue
import sys
import threading

from base import raw, say, text

ANSWERS: dict[object, queue.Queue] = {}
DECLARED: list[dict] = []
LEVELS: list[str] = []
FORM = {"message": "Your name?", "requestedSchema": {"type": "object", "properties": {}}}
KINDS = {
    "elicit": ("elicitation/create", FORM),
    "sample": ("sampling/createMessage", {"messages": [], "maxTokens": 1}),
    "roots": ("roots/list", None),
    "url": ("elicitation/create", {"mode": "url", "message": "x", "url": "https://x.test"}),
    "unknown": ("what/ever", {}),
}


def ask(number, method, params=None):
    ANSWERS[number] = queue.Queue()
    say({"id": number, "method": method} | ({} if params is None else {"params": params}))


def answer(number):
    return ANSWERS[number].get(timeout=20)


def call(message):  # noqa: C901, PLR0912 - a branch for each way to ask
    name, arguments = message["params"]["name"], message["params"].get("arguments", {})
    meta = message["params"].get("_meta", {})
    if name in KINDS:
        if "progressToken" in meta:
            params = {"progressToken": meta["progressToken"], "progress": 1}
            say({"method": "notifications/progress", "params": params})
        say({"method": "notifications/message", "params": {"level": "info", "data": "asking"}})
        ask(arguments.get("id", "q"), *KINDS[name])
        text(message, json.dumps(answer(arguments.get("id", "q"))))
    elif name == "all":
        for kind in ("elicit", "sample", "roots"):
            ask(kind, *KINDS[kind])
        text(
            message, json.dumps({k: answer(k).get("result") for k in ("elicit", "sample", "roots")})
        )
    elif name == "reuse":
        # Takes its question back and asks another one by the same id.
        ask("q", "elicitation/create", {**FORM, "message": "harmless"})
        say({"method": "notifications/cancelled", "params": {"requestId": "q"}})
        ask("q", "elicitation/create", {**FORM, "message": "dangerous"})
        text(message, json.dumps(answer("q")))
    elif name == "twice":
        ANSWERS[1] = queue.Queue()
        one = {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": FORM}
        raw((json.dumps(one).encode() + b"\n") * 2)
        text(message, json.dumps(answer(1)))
    elif name == "flood":
        for number in range(arguments["count"]):
            say({"id": number, "method": "elicitation/create", "params": FORM})
        threading.Event().wait(20)
    elif name == "forget":
        ask("q", *KINDS["elicit"])
        text(message, "not waited for")
    elif name == "done_on_page":
        params = {"elicitationId": "e1"}
        say({"method": "notifications/elicitation/complete", "params": params})
        text(message, "done")
    elif name == "about":
        text(message, json.dumps({"pid": os.getpid(), "declared": DECLARED, "levels": LEVELS}))
    elif name == "die":
        os._exit(3)
    elif name == "hold":
        threading.Event().wait(20)
    else:
        text(message, name)


for line in sys.stdin.buffer:
    heard = json.loads(line)
    method = heard.get("method")
    if method == "initialize":
        DECLARED.append(heard["params"]["capabilities"])
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "logging": {}},
            "serverInfo": {"name": "asking", "version": "1"},
        }
        say({"id": heard["id"], "result": result})
    elif method == "logging/setLevel":
        LEVELS.append(heard["params"]["level"])
        say({"id": heard["id"], "result": {}})
    elif method == "ping":
        say({"id": heard["id"], "result": {}})
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in [*KINDS, "all"]]
        say({"id": heard["id"], "result": {"tools": tools}})
    elif method == "tools/call":
        threading.Thread(target=call, args=(heard,), daemon=True).start()
    elif method is None and heard["id"] in ANSWERS:
        ANSWERS[heard["id"]].put({k: v for k, v in heard.items() if k in {"result", "error"}})
    elif method is not None and "id" in heard:
        say({"id": heard["id"], "error": {"code": -32601, "message": "no such method"}})
