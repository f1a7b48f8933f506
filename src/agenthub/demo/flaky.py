"""A demo MCP server that fails as it is told: `python -m agenthub.demo.flaky`.

`set_mode` says how `work` behaves from then on; a crash forgets it, since the process is new then.
"""

import os
import time

from agenthub.demo.server import Server, Tool, ToolFailed

MODES = ("ok", "error", "slow", "hang", "crash")
FOREVER_S = 365 * 24 * 3600


class Flaky:
    def __init__(self) -> None:
        self._mode = "ok"
        self._seconds: float = 2

    def set_mode(self, mode: str, seconds: float = 2) -> str:
        if not 0 <= seconds <= 3600:
            raise ToolFailed("seconds must be from 0 to 3600")
        self._mode, self._seconds = mode, seconds
        return f"work() is now: {mode}"

    def work(self) -> str:
        if self._mode == "crash":
            os._exit(70)
        if self._mode == "error":
            raise ToolFailed("It failed, as it was told")
        if self._mode == "hang":
            time.sleep(FOREVER_S)
        if self._mode == "slow":
            time.sleep(self._seconds)
        return "done"


def echo(text: str) -> str:
    return text


def _definition(
    name: str, description: str, properties: dict[str, object], *, required: tuple[str, ...] = ()
) -> dict[str, object]:
    harmless = name != "set_mode"
    return {
        "name": name,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": harmless, "idempotentHint": True, "destructiveHint": False},
    }


def main() -> None:
    flaky = Flaky()
    text: dict[str, object] = {"text": {"type": "string"}}
    mode: dict[str, object] = {
        "mode": {"type": "string", "enum": list(MODES)},
        "seconds": {"type": "number", "description": "How slow `slow` is; 2 if not given."},
    }
    tools = (
        Tool(echo, _definition("echo", "Says the same again.", text, required=("text",))),
        Tool(
            flaky.set_mode,
            _definition("set_mode", "Sets how `work` behaves.", mode, required=("mode",)),
        ),
        Tool(flaky.work, _definition("work", "Works, or fails as it was told.", {}), aside=True),
    )
    Server("agenthub-flaky", "1.0.0", tools).serve()


if __name__ == "__main__":
    main()
