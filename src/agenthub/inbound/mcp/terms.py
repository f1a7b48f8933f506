"""The words of MCP that its doors share: versions, keys of `_meta`, codes, where answers go.

Source: MCP specification 2026-07-28, "Base, _meta" and "Base, Error Codes".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from agenthub import __version__
from agenthub.domain.call import Era
from agenthub.domain.caller import Caller
from agenthub.domain.outcome import Cause
from agenthub.inbound.exchange import Headers

MODERN: Final = "2026-07-28"
LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SUPPORTED: Final = (MODERN, *LEGACY_VERSIONS)

PROTOCOL: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = PROTOCOL + "protocolVersion"
CAPABILITIES_KEY: Final = PROTOCOL + "clientCapabilities"
CLIENT_INFO_KEY: Final = PROTOCOL + "clientInfo"
LOG_LEVEL_KEY: Final = PROTOCOL + "logLevel"
SERVER_INFO_KEY: Final = PROTOCOL + "serverInfo"
SUBSCRIPTION_KEY: Final = PROTOCOL + "subscriptionId"
TASKS: Final = PROTOCOL + "tasks"
"""The extension of calls that go on after their answer (tasks.py)."""

OURS: Final = "io.agenthub/"
"""Keys of `_meta` that only the hub may set."""
SERVED_BY: Final = OURS + "served_by"
IDEMPOTENCY_KEY: Final = OURS + "idempotencyKey"
DEADLINE_KEY: Final = OURS + "deadlineMs"

LOG_LEVELS: Final = (
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency",
)  # fmt: skip

LISTEN: Final = "subscriptions/listen"
CANCELLED: Final = "notifications/cancelled"
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602

SERVER_INFO: Final = msgspec.json.encode(
    {"name": "agenthub", "title": "AgentHub", "version": __version__}
)


class Context(Struct, frozen=True, gc=False):
    """Who asks, at which face, and how it speaks."""

    caller: Caller
    endpoint: str | None
    """The face: one server's name, or None for all."""
    era: Era
    capabilities: bytes = b"{}"
    client_info: bytes = b""
    log_level: bytes = b""
    """Raw JSON string, of a legacy session; modern clients say it with each request."""
    door: str = "mcp"
    idempotency_key: str | None = None
    size_bytes: int = 0
    headers: Headers = ()
    """As received, for `Mcp-Param-*`; none over transports that have none."""


Answered: TypeAlias = Callable[[bytes, bytes], None]
"""Takes the client's answer to a question, raw: a result, or else an error object."""


class UnderWay(Protocol):
    """A call that goes on: passage.Passage, or several of them one after the other."""

    def cancel(self, cause: Cause) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Replies(Protocol):
    """Where the answer to one request goes: any notifications, then one result or error."""

    def result(self, raw: bytes) -> None: ...
    def error(
        self, code: int, message: str, data: Mapping[str, Any] | bytes | None = None
    ) -> None: ...
    def notify(self, method: str, params: bytes) -> None: ...

    def ask(self, method: str, params: bytes, answered: Answered) -> bool:
        """Ask the client of the old era on this request's own stream.

        False: it cannot be asked. `answered` is called once at most, and not after the end.
        """
        ...

    def follow(self, under_way: UnderWay) -> None:
        """What is under way is this now: to be cancelled when the client wants it, and so on."""
        ...
