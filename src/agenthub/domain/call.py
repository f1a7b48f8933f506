"""A call: what a caller asked for, once. Its attempts are exchanges with upstream servers."""

import hashlib
from collections.abc import Mapping
from enum import Enum

from msgspec import Raw, Struct

from agenthub.domain.caller import Caller
from agenthub.domain.content import Content
from agenthub.domain.span import Nanoseconds

ANSWERS = frozenset({"inputResponses", "requestState"})
"""Parameters with which a client answers what a server asked in the round before (MRTR)."""


TASK_METHODS = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
"""About a task that a call of a tool began (SEP-2663); only the server that has it serves them."""


WATCH_TASK, UNWATCH_TASK = "tasks/watch", "tasks/unwatch"
"""The hub's own words for a task in the filter of a server's `subscriptions/listen`."""


class Era(Enum):
    """The two ways to speak MCP. Source: specification 2026-07-28, Versioning."""

    MODERN = "modern"
    """2026-07-28 and later: stateless, every request self-contained."""
    LEGACY = "legacy"
    """2025-11-25 and earlier: `initialize`, sessions."""


class Call(Struct, frozen=True):
    """One request of a client, on its way to one endpoint."""

    id: str
    """The hub's request id: in logs, in errors, in `_meta`. Unique."""
    caller: Caller
    door: str
    """Where it came in: `mcp`, `stdio`, `rest`."""
    endpoint: str
    """The endpoint's name."""
    method: str
    """`tools/call`, `resources/read`, `prompts/get`, `completion/complete`, `tasks/get`, …"""
    name: str
    """The tool, prompt or resource URI, as its own server calls it (no prefix)."""
    params: Mapping[str, Raw]
    """The request's params as they came, raw, without `_meta`; `name`/`uri` is `Call.name`."""
    meta: Mapping[str, Raw]
    """The request's `_meta`, raw, without the keys of the protocol itself."""
    deadline: Nanoseconds
    """Monotonic; the client's own wish and the hard cap of 300 s are already in it."""
    era: Era = Era.MODERN
    """How the client speaks."""
    capabilities: bytes = b"{}"
    """Raw JSON: what the client declared, on this request or at `initialize`."""
    client_info: bytes = b""
    """Raw JSON, self-reported by the client; empty when it said nothing."""
    idempotency_key: str | None = None
    size_bytes: int = 0
    """Of the request's body."""
    arguments: object = None
    """`params["arguments"]` as values, where a door has read them; else None."""
    only: str = ""
    """The one server that may serve it, because it asked what this answers (R34), or because it
    has the task that this is about; empty: any."""
    tool: str = ""
    """Of a task: the tool that began it; `name` is the task's id there."""
    content: Content | None = None
    """Of a call of a language model, instead of params; `name` is the model that was asked for."""
    session: str = ""
    """Of an agent's run that this is part of; a call of a model has it in `content`."""

    def digest(self) -> bytes:
        """SHA-256 of what is asked for: equal requests have equal ones, in every round (MRTR)."""
        # What answers a task's questions is no other round of it, but what is asked for.
        asked = sorted(self.params.keys() - (() if self.tool else ANSWERS))
        parts = [self.endpoint.encode(), self.method.encode(), self.name.encode()]
        parts += [key.encode() + b":" + bytes(self.params[key]) for key in asked]
        if self.content is not None:
            parts.append(self.content.body)
        return hashlib.sha256(b"\0".join(parts)).digest()
