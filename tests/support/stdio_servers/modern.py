"""A modern server whose tools do what a modern server may or may not do."""

import json
import sys

from base import say, text

VERSION = "2026-07-28"
LISTENED = []

for line in sys.stdin.buffer:
    message = json.loads(line)
    method, params = message["method"], message.get("params", {})
    name, meta = params.get("name"), params.get("_meta", {})
    if method == "notifications/cancelled":
        LISTENED[:] = [one for one in LISTENED if one["id"] != params["requestId"]]
    if "id" not in message:
        continue
    if method == "server/discover":
        capabilities = {"tools": {"listChanged": True}, "prompts": {}}
        result = {"resultType": "complete", "supportedVersions": [VERSION]}
        say({"id": message["id"], "result": {**result, "capabilities": capabilities}})
    elif method == "subscriptions/listen":
        LISTENED.append({"id": message["id"], **params["notifications"]})
        say(
            {
                "method": "notifications/subscriptions/acknowledged",
                "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": message["id"]}},
            }
        )
    elif name == "meta":
        text(message, json.dumps(meta), resultType="complete")
    elif name == "listened":
        say({"method": "notifications/tools/list_changed", "params": {"_meta": {"x": 1}}})
        text(message, json.dumps([{**one, "id": 0} for one in LISTENED]), resultType="complete")
    elif name == "input":
        say({"id": message["id"], "result": {"resultType": "input_required", "inputRequests": {}}})
    elif name == "ask":
        say({"id": "q", "method": "elicitation/create", "params": {}})
        say({"id": 123456, "result": {}})
        text(message, "went on", resultType="complete")
