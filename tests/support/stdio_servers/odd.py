"""A legacy server whose tools answer oddly."""

import json
import subprocess
import sys
import time

from base import raw, say, serve, text

LEVELS = []


def answer(message, **parts):
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], **parts}).encode()


def call(message, arguments):  # noqa: C901, PLR0912, PLR0915 - a branch for each oddity
    name = message["params"]["name"]
    result = {"content": [{"type": "text", "text": arguments.get("text", "")}]}
    whole = answer(message, result=result)
    number = str(message["id"]).encode()
    if name == "echo":
        text(message, arguments["text"])
    elif name == "meta":
        text(message, json.dumps(message["params"].get("_meta")))
    elif name == "noise":
        raw(b'Listening on stdio...\n\n[1, 2]\n{}\n{"level": "info"}\n' * arguments["times"])
        raw(whole + b"\n")
    elif name == "crlf":
        raw(b"\xef\xbb\xbf" + whole + b"\r\n")
    elif name == "pieces":
        for piece in (whole[:20], whole[20:21], whole[21:], b"\n"):
            raw(piece)
            time.sleep(0.02)
    elif name == "last_words":
        raw(whole)
        sys.exit(0)
    elif name == "bad_utf8":
        raw(b"caf\xe9 \xff\n" + b'{"id":' + number + b',"result":{"content":"\xff"}}\n')
    elif name == "bad_utf8_note":
        raw(b'{"method":"notifications/x","params":{"a":"\xff"}}\n')
        raw(b'{"method":"\xff"}\n{"id":"\xff","result":{}}\n' + whole + b"\n")
    elif name == "ids":
        for odd in (b'"' + number + b'"', b"null", b"99999", number + b".0", b"true"):
            raw(b'{"jsonrpc":"2.0","id":' + odd + b',"result":{"content":[]}}\n')
        raw(whole + b"\n")
    elif name == "twice":
        raw(whole + b"\n" + whole + b"\n")
    elif name == "both":
        raw(answer(message, result={}, error={"code": 1, "message": "x"}) + b"\n")
    elif name == "neither":
        raw(answer(message) + b"\n")
    elif name == "array":
        raw(answer(message, result=[1]) + b"\n")
    elif name == "codeless":
        raw(answer(message, error={"message": "x"}) + b"\n")
    elif name == "error":
        raw(answer(message, error={"code": -32602, "message": "no"}) + b"\n")
    elif name == "deep":
        raw(b'{"id":' + number + b',"result":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n")
    elif name == "large":
        mib = b"x" * (1 << 20)
        first = b'{"jsonrpc":"2.0","id":' + number + b',"result":{"a":"'
        if arguments.get("blind"):
            first = b'{"result":{"a":"'
        raw(first)
        for _ in range(arguments["mib"]):
            raw(mib)
        raw(b'"}}\n')
    elif name == "stderr":
        chunk = (b"y" * 99 + b"\n") * 10_000
        for _ in range(arguments["mib"]):
            sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.write(
            b"\x1b[31mred\x1b[0m \x1b]0;title\x07\xe2\x80\xaelast s3cr3t-value\n"
        )
        sys.stderr.buffer.flush()
        text(message, "done")
    elif name == "progress":
        token = message["params"].get("_meta", {}).get("progressToken")
        for step in (1, 2):
            say(
                {
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": step},
                }
            )
        say(
            {
                "method": "notifications/progress",
                "params": {"progressToken": "foreign", "progress": 3},
            }
        )
        text(message, "done")
    elif name == "notes":
        say({"method": "notifications/message", "params": {"level": "info", "data": "hi"}})
        say({"method": "notifications/tools/list_changed"})
        text(message, "done")
    elif name == "log":
        for level in ("debug", "warning", "odd"):
            params = {"level": level, "data": json.dumps(LEVELS)}
            say({"method": "notifications/message", "params": params})
        text(message, "done")
    elif name == "ask":
        say({"id": "q1", "method": arguments["method"], "params": {}})
        reply = json.loads(sys.stdin.buffer.readline())
        text(message, json.dumps(reply))
    elif name == "children":
        for _ in range(arguments["count"]):
            subprocess.Popen(["sleep", "60"])
        text(message, "done")
    elif name == "sleep":
        time.sleep(arguments["nap"])
        text(message, "done")
    elif name == "deaf":
        time.sleep(3600)
    elif name == "close_stdout":
        sys.stdout.close()
        time.sleep(3600)
    elif name != "hold":
        say({"id": message["id"], "error": {"code": -32602, "message": "Unknown tool"}})


def set_level(message):
    if message.get("method") != "logging/setLevel":
        return False
    LEVELS.append(message["params"]["level"])
    say({"id": message["id"], "result": {}})
    return True


serve(call, other=set_level)
