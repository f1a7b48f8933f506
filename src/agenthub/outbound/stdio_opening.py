"""The first words to a stdio server, which tell the era that it speaks.

    server/discover ──result──────────────────────────────► modern
         │  └────────error -32022 that names no old version► modern
         └─any other error, or 2 s of silence─► initialize ──result──► legacy

A server that dies of `server/discover` is started again with `initialize` first; then the way is
the other one round. Who answers first wins; the verdict is kept by the caller.
Source: revision 2026-07-28, stdio, Backward Compatibility.
"""

from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct, field

from agenthub.domain.call import Era
from agenthub.outbound.mcp_message import (
    MODERN,
    NOTHING,
    PROTOCOL,
    Message,
    error_head,
    initialize,
    modern_request,
)

UNSUPPORTED_VERSION = -32022


SAID_MAX = 65_536
"""Of what a server says of itself, in bytes or characters; each client is told of it."""


class Opened(Struct, frozen=True):
    """The server is ready for requests."""

    era: Era
    version: str
    server_info: bytes = b""
    capabilities: bytes = b"{}"
    instructions: str = ""


class Unfit(Struct, frozen=True):
    """It answered, but not as an MCP server should."""

    problem: str


class _Discovered(Struct, frozen=True):
    versions: tuple[str, ...] = field(name="supportedVersions", default=())
    capabilities: Raw = Raw(b"{}")
    instructions: str | None = None
    meta: dict[str, Raw] = field(name="_meta", default_factory=dict[str, Raw])


class _Initialized(Struct, frozen=True):
    version: str = field(name="protocolVersion")
    capabilities: Raw = Raw(b"{}")
    server_info: Raw = field(name="serverInfo", default=NOTHING)
    instructions: str | None = None


class _Supported(Struct, frozen=True):
    supported: tuple[str, ...] = ()


def discovered(result: bytes | Raw) -> Opened | None:
    """What a modern server says of itself; None: it names no version, as one of the old era that
    answers whatever it is asked. Raises ValueError.
    """
    found = msgspec.json.decode(result, type=_Discovered)
    if not found.versions:
        return None
    return Opened(
        Era.MODERN,
        MODERN,
        _bounded("serverInfo", found.meta.get(PROTOCOL + "serverInfo", NOTHING)),
        _bounded("capabilities", found.capabilities),
        (found.instructions or "")[:SAID_MAX],
    )


def initialized(result: bytes | Raw) -> Opened:
    """What an old server says of itself. Raises ValueError."""
    found = msgspec.json.decode(result, type=_Initialized)
    return Opened(
        Era.LEGACY,
        found.version,
        _bounded("serverInfo", found.server_info),
        _bounded("capabilities", found.capabilities),
        (found.instructions or "")[:SAID_MAX],
    )


def _bounded(name: str, said: bytes) -> bytes:
    if len(said) > SAID_MAX:
        raise ValueError(f"{name} is over {SAID_MAX:,} bytes")
    return bytes(said)


def unsupported(data: Raw) -> Opened | Unfit | None:
    """What the versions in an error -32022 mean; None: it speaks an old one.

    Raises ValueError.
    """
    versions = msgspec.json.decode(data or b"{}", type=_Supported).supported
    if MODERN in versions or not versions:
        return Opened(Era.MODERN, MODERN)
    if min(versions) > MODERN:
        return Unfit(f"it speaks MCP {', '.join(versions)[:200]}, and this hub {MODERN}")
    return None


class Opening:
    """A machine without I/O: bytes to send come out, answers go in."""

    def __init__(
        self, mint: Callable[[], int], *, initialize_first: bool, declared: bytes = b"{}"
    ) -> None:
        """`declared`: the client's capabilities, for an old server."""
        self._mint = mint
        self._initialize_first = initialize_first
        self._declared = declared
        self._discover_id: int | None = None
        self._initialize_id: int | None = None
        self._refused: list[str] = []
        self.heard = False
        """Whether anything was answered yet."""

    def begin(self) -> bytes:
        return self._initialize() if self._initialize_first else self._discover()

    def silent(self) -> bytes:
        """Nothing came for a while: try the other way too. Empty when both are under way."""
        if self._initialize_id is None:
            return self._initialize()
        return self._discover() if self._discover_id is None else b""

    def answered(self, message: Message) -> Opened | Unfit | bytes | None:
        """The verdict, or bytes to send next, or None: not of this opening, or wait for more."""
        if message.id is None or message.id not in (self._discover_id, self._initialize_id):
            return None
        self.heard = True
        try:
            if message.id == self._discover_id:
                return self._discovered(message)
            return self._initialized(message)
        except ValueError as wrong:
            return Unfit(f"its first answer has the wrong shape: {wrong}")

    def _discover(self) -> bytes:
        self._discover_id = self._mint()
        return modern_request(self._discover_id, "server/discover")

    def _initialize(self) -> bytes:
        self._initialize_id = self._mint()
        return initialize(self._initialize_id, self._declared)

    def _discovered(self, message: Message) -> Opened | Unfit | bytes | None:
        if message.result and (opened := discovered(message.result)):
            return opened
        error = error_head(message.error)
        if error is not None and error.code == UNSUPPORTED_VERSION:
            verdict = unsupported(error.data)
            if verdict is not None:
                return verdict
        return self._other_way("server/discover", message)

    def _initialized(self, message: Message) -> Opened | Unfit | bytes | None:
        if message.result:
            return initialized(message.result)
        return self._other_way("initialize", message)

    def _other_way(self, method: str, message: Message) -> Unfit | bytes | None:
        error = error_head(message.error)
        self._refused.append(f"{method}: {error.message or error.code}" if error else method)
        if len(self._refused) == 2:
            return Unfit(f"it refused both ways to begin ({'; '.join(self._refused)})"[:500])
        return self.silent() or None
