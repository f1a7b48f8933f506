"""Where the hub listens: the socket, and the address that clients use."""

import socket
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from ipaddress import ip_address

from agenthub.domain.errors import BadSetting
from agenthub.settings import Settings

BACKLOG = 2048
"""Connections that may wait to be accepted, which a burst of clients needs."""


def bind(settings: Settings) -> socket.socket:
    """A socket that listens. Raises BadSetting, in words."""
    host, port = settings.server.host, settings.server.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise BadSetting(f"server.host: {host} is no address that this machine knows") from None
    family, kind, protocol, _, address = found[0]
    if settings.auth.anonymous_loopback and not ip_address(str(address[0])).is_loopback:
        raise BadSetting(
            f"auth.anonymous_loopback: callers without a key are let in from loopback only, and"
            f" {host} is reached from elsewhere; set one of the two"
        )
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise BadSetting(_why(error, host, port)) from error
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket) -> str:
    """The address for clients on this machine."""
    host, port = listening.getsockname()[:2]
    address = ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == EADDRINUSE:
        return (
            f"server.port: port {port} of {host} is taken by another program; stop that, or choose"
            " another port with --port (0: any free one)"
        )
    if error.errno == EACCES:
        return f"server.port: this user may not listen on port {port}; choose one from 1024 on"
    if error.errno == EADDRNOTAVAIL:
        return f"server.host: {host} is not an address of this machine"
    return f"server.host: {host} port {port} cannot be listened on: {error.strerror}"
