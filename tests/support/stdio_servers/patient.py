"""A legacy server whose one tool tells of its progress, takes its time, and answers. Not a test."""

import threading
import time

from base import say, serve, text

TOOL = {"name": "work", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


def work(message, arguments):
    token = message["params"].get("_meta", {}).get("progressToken")
    for progress in range(1, 1 + arguments.get("steps", 1)):
        if token is not None:
            params = {"progressToken": token, "progress": progress}
            say({"method": "notifications/progress", "params": params})
        time.sleep(arguments.get("seconds", 0))
    text(message, "done")


def other(message):
    if message.get("method") == "tools/list":
        say({"id": message["id"], "result": {"tools": [TOOL]}})
        return True
    return False


serve(
    lambda message, arguments: threading.Thread(target=work, args=(message, arguments)).start(),
    other=other,
)
