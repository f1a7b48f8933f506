"""What to do when the hub refuses, beside what it says itself."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from agenthub.cli.requests import Json

WHAT_TO_DO: Final = {
    "circuit_open": "`agenthub doctor SERVER` says what is wrong with it.",
    "upstream_unavailable": "`agenthub doctor SERVER` says why.",
    "upstream_protocol": "`agenthub doctor SERVER` says more.",
    "deadline_exceeded": "Its time is set by `agenthub add SERVER --replace … --timeout`.",
    "rate_limited": (
        "A server's limit is set by `agenthub add SERVER --replace … --rps --burst`, a key's by"
        " `agenthub key limit`."
    ),
    "outcome_unknown": "Look whether it was done before you call it again.",
    "tool_changed": "`agenthub approve SERVER` shows what is other now.",
    "poisoned": "`agenthub doctor SERVER` shows how it died.",
    "interactive_unsupported": "Call it from a client that can answer.",
    "storage_failed": "The hub's files are in HOME.",
    "unauthorized": "The hub does not know the token in HOME/admin-token; start it anew.",
}
"""By the error's code; SERVER becomes the server's name, HOME the hub's folder."""


class Known(Protocol):
    """What a hint may look up."""

    def endpoints(self) -> list[Json]: ...

    def tools(self, endpoint: str | None = None) -> list[Json]: ...


def hint(code: str, server: str, tool: str, hub: Known, home: Path) -> str:
    """A sentence, or nothing. Raises what the hub raises when it is asked."""
    if code == "unknown_target" and server:
        return _nearest(server, tool, hub)
    if code == "unknown_target":
        return "`agenthub view list` and `agenthub key list` show what there is."
    if code == "invalid_params" and tool:
        return f"`agenthub tools {server} --json` shows what is expected."
    return WHAT_TO_DO.get(code, "").replace("SERVER", server or "SERVER").replace("HOME", str(home))


def _nearest(server: str, tool: str, hub: Known) -> str:
    configs: dict[str, Any] = {view["name"]: view["config"] for view in hub.endpoints()}
    if server not in configs:
        return did_you_mean(server, configs) or "`agenthub list` shows the servers."
    if not configs[server].get("enabled", True):
        return f"`agenthub enable {server}` switches it on."
    tools = (view["name"] for view in hub.tools(server))
    return did_you_mean(tool, tools) or f"`agenthub tools {server}` shows what it has."


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The question, or nothing if none of the words is like it."""
    near = difflib.get_close_matches(word, list(words), 1)
    return f"Did you mean {near[0]!r}?" if near else ""
