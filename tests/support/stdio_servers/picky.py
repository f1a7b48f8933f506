"""Dies of a first message that is not `initialize`, as some servers do."""

# ruff: noqa: PTH123 - starts faster without pathlib

import json
import os
import sys

from base import initialized, serve, text

with open(os.environ["STARTS"], "a") as file:
    file.write("start\n")
first = json.loads(sys.stdin.buffer.readline())
if first["method"] != "initialize":
    sys.stderr.write("expected initialize request\n")
    sys.exit(3)
initialized(first)
serve(lambda message, arguments: text(message, arguments["text"]))
