"""A new connection to a server: name, TCP, TLS, all within one bound.

Names are looked up in a thread of their own, one lookup at a time per server: a resolver that
hangs holds up nobody else, and not the end of the process. The TLS context is made once per
process (it costs 18 ms), at the first https server, beside the loop.

No proxy of the environment is used: the operator wrote the address that is meant.
"""

import asyncio
import functools
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.outbound.diagnosis import Diagnosis
from agenthub.outbound.http_connection import Connection
from agenthub.outbound.http_request import Origin

T = TypeVar("T")

ADDRESSES_MAX = 8
"""Of one name that are tried, one after the other."""


class Unreachable(Exception):
    """No connection came about."""

    def __init__(self, diagnosis: Diagnosis, *, refused: bool = False) -> None:
        super().__init__(diagnosis.problem)
        self.diagnosis = diagnosis
        self.refused = refused
        """The host is there, and nothing listens: another try at once is of no use."""


class Dial:
    """Makes connections to one origin."""

    def __init__(self, origin: Origin, span: Nanoseconds) -> None:
        self._origin = origin
        self._span_ms = span // MILLISECOND
        self._lookup: asyncio.Future[list[str]] | None = None

    async def connect(self, make: Callable[[], Connection]) -> Connection:
        """Raises Unreachable."""
        try:
            async with asyncio.timeout(self._span_ms / 1000):
                return await self._connect(make)
        except TimeoutError:
            raise Unreachable(
                Diagnosis(
                    f"no connection to {self._origin.authority} within {self._span_ms:,} ms",
                    "Is the host up, and is a firewall in the way?",
                )
            ) from None
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            raise Unreachable(explain(error, self._origin), refused=refused) from error

    async def _connect(self, make: Callable[[], Connection]) -> Connection:
        origin = self._origin
        context = (_tls[0] if _tls else await aside(tls_context)) if origin.tls else None
        addresses = [origin.host] if is_address(origin.host) else await self._addresses()
        loop = asyncio.get_running_loop()
        for number, address in enumerate(addresses, 1):
            try:
                transport, connection = await loop.create_connection(
                    make,
                    address,
                    origin.port,
                    ssl=context,
                    server_hostname=origin.host if context else None,
                )
            except OSError:
                if number == len(addresses):
                    raise
            else:
                _keep_alive(transport)
                return connection
        raise AssertionError("a lookup without addresses is an error")

    async def _addresses(self) -> list[str]:
        lookup = self._lookup
        if lookup is None or lookup.done():
            host, port = self._origin.host, self._origin.port
            lookup = self._lookup = aside(functools.partial(look_up, host, port))
        # Who waits no longer must not end it for the others.
        return await asyncio.shield(lookup)


def explain(error: OSError, origin: Origin) -> Diagnosis:
    """Why there is no connection."""
    where = origin.authority
    if isinstance(error, ssl.SSLCertVerificationError):
        return Diagnosis(
            f"the certificate of {where} is not valid: {error.verify_message}",
            "It must be issued for this name by an authority that this machine trusts.",
        )
    if isinstance(error, ssl.SSLError):
        why = error.reason or "handshake failed"
        return Diagnosis(f"no TLS with {where}: {why}", "Does it speak https on this port?")
    if isinstance(error, socket.gaierror):
        return Diagnosis(f"the name {origin.host} is not known", "Check the address, and DNS.")
    if isinstance(error, ConnectionRefusedError):
        return Diagnosis(f"nothing listens on {where}", "Start the server, or check its port.")
    reason = error.strerror or type(error).__name__
    return Diagnosis(f"no connection to {where}: {reason}")


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, in the system's order. Blocks. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:ADDRESSES_MAX]


_making_tls = threading.Lock()
_tls: list[ssl.SSLContext] = []


def tls_context() -> ssl.SSLContext:
    """The process's one; made by the first who asks. Blocks."""
    with _making_tls:
        if not _tls:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            _tls.append(context)
        return _tls[0]


def aside(work: Callable[[], T]) -> asyncio.Future[T]:
    """The result of what blocks, from a thread that nobody has to wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # pyright: ignore[reportArgumentType]
        else:
            future.set_exception(error)
            future.exception()  # Seen, even if nobody waits any more.

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except OSError as wrong:
            error = wrong
        with suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True, name="agenthub-dial").start()
    return future


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """A peer that vanished is noticed on long streams, too."""
    sock = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
