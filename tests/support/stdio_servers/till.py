"""An MCP server that books: one line of a file for each call that it carries out.

    python till.py FILE

`pay` answers at once, `pay_slowly` after a minute.
"""

import os
import sys
import time

from agenthub.demo.server import Server, Tool

BOOK = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def pay(what):
    os.write(BOOK, f"{what}\n".encode())
    return f"paid {what}"


def pay_slowly(what):
    os.write(BOOK, f"{what}\n".encode())
    time.sleep(60)
    return f"paid {what}"


def definition(name):
    schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    return {"name": name, "description": "Pays.", "inputSchema": schema}


if __name__ == "__main__":
    tools = [Tool(run, definition(run.__name__), aside=True) for run in (pay, pay_slowly)]
    Server("till", "1.0.0", tools).serve()
