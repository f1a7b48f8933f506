"""Where the hub listens: one socket, and the life of all connections on it.

bind ─► start ─► … ─► stop_accepting ─► close: answers that are on have their time, then end
                      503 from here on
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable
from errno import EACCES, EADDRINUSE
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import structs
from uvicorn import Config
from uvicorn.server import ServerState

from agenthub.domain.errors import BadSetting
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.inbound.edge import Edge
from agenthub.inbound.exchange import HotDoor
from agenthub.inbound.gate import Gate
from agenthub.inbound.open_files import room_for
from agenthub.inbound.protocol import HubProtocol
from agenthub.inbound.web import Web
from agenthub.settings import Settings

if TYPE_CHECKING:
    from agenthub.hub import Hub

log = logging.getLogger(__name__)

BACKLOG: Final = 2_048
"""Connections that the kernel holds until they are accepted."""
LAST_WORDS: Final = SECOND
"""How long tasks that were cancelled may take to end."""


class Listener:
    """Serves hot doors and the web application at `settings.server`."""

    def __init__(self, hub: "Hub", hot: Callable[[str], HotDoor | None]) -> None:
        self._hub = hub
        self._hot = hot
        self._state = ServerState()
        self._edge: Edge | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """The port.

        Raises:
            BadSetting: The address cannot be listened at, or not safely; and what to do.
        """
        hub = self._hub
        bound = await _bind(hub.settings)
        port: int = bound.getsockname()[1]
        gate = Gate(hub.settings, hub.keys, port)
        limits = hub.settings.limits
        limits = structs.replace(limits, connections=room_for(limits.connections))
        self._edge = edge = Edge(gate, self._hot, limits, hub.clock, hub.ids)
        self._state.default_headers = edge.asgi_headers
        config = Config(
            Web(hub, gate, self._hot), ws="none", lifespan="off", interface="asgi3",
            log_config=None, access_log=False, proxy_headers=False, server_header=False,
            date_header=False,
        )  # fmt: skip
        config.load()
        made = partial(
            HubProtocol, edge, config=config, server_state=self._state, app_state={},
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(made, sock=bound, backlog=BACKLOG)
        return port

    def stop_accepting(self) -> None:
        """From now on each new request is answered 503, with the time to come again."""
        if self._edge is not None:
            self._edge.is_accepting = False

    async def close(self, drain_ms: int) -> None:
        """Let the answers that are on come to their end, at most for this long; then end all."""
        edge, server = self._edge, self._server
        if edge is None or server is None:
            return
        self.stop_accepting()
        for connection in list(edge.connections):
            cast("HubProtocol", connection).shutdown()
        if edge.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(edge.emptied.wait(), drain_ms * MILLISECOND / SECOND)
        server.close()
        edge.close()
        for connection in list(edge.connections):
            cast("HubProtocol", connection).transport.abort()
        tasks: set[asyncio.Task[Any]] = set(self._state.tasks)
        if tasks:
            # Whose client has gone ends by itself; what does not is torn off.
            _, tasks = await asyncio.wait(tasks, timeout=LAST_WORDS / SECOND)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS / SECOND)
        self._edge = self._server = None


async def _bind(settings: Settings) -> socket.socket:
    """A socket that is bound, and not to an address where the settings would let anybody in."""
    host, port = settings.server.host, settings.server.port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise BadSetting(
            f"server.host: {host} is no address of this machine ({error.strerror})"
        ) from None
    family, kind, protocol, _, address = found[0]
    _check_open(settings, str(address[0]))
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Here and not with the server, so that a port that is taken is told of here.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise BadSetting(_why(error, host, port)) from None
    return bound


def _check_open(settings: Settings, address: str) -> None:
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return
    if settings.auth.anonymous_loopback:
        raise BadSetting(
            f"server.host: {address} is open to other machines, and auth.anonymous_loopback lets "
            "callers in without a key; turn one of them off"
        )
    log.warning(
        "Listening for other machines, without TLS: keys go over the network in the clear. "
        "Put a proxy with TLS in front, and its name into server.allowed_hosts",
        extra={"address": address},
    )


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == EADDRINUSE:
        return (
            f"server.port: {host}:{port} is in use, perhaps by another hub; stop that one, or "
            "choose another port with --port N or AGENTHUB__SERVER__PORT=N"
        )
    if error.errno == EACCES:
        return f"server.port: {port} is for root only; choose one from 1024, with --port N"
    return f"server.host: cannot listen at {host}:{port}: {error.strerror}"
