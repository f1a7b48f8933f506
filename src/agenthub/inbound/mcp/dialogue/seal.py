"""`requestState` as the hub gives it to clients of the new era: a server's own, under a seal.

    requestState = base64url(until, nonce, what, the server's state) "." base64url(HMAC-SHA256)

The HMAC covers the caller, the address (`/mcp`, a server's or a view's), the server that asked and
the digest of the call too, none of which stands in the text: who is not the same, or asks for
something else or elsewhere, has no valid state, and nobody learns the name of a fallback from it.
Any hub with the same secret can read it. In one hub it is good for one round: it is remembered as
used until it has expired, or `USED_MAX` others were.

Source: MCP specification 2026-07-28, "Patterns, MRTR"; rule R34, attack A37.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import msgspec
from msgspec import Raw, Struct

from agenthub.domain.call import Call
from agenthub.domain.errors import InvalidParams, UpstreamProtocol
from agenthub.domain.span import MILLISECOND, Nanoseconds
from agenthub.ports import Clock
from agenthub.wire import base64url

STATE_MAX: Final = 64 * 1024
"""Bytes of a server's state: it travels through the client with every round."""
USED_MAX: Final = 10_000
NO_STATE: Final = b"null"
_encode = msgspec.json.Encoder().encode


class InvalidState(InvalidParams):
    """invalid or expired requestState"""  # noqa: D400, D415 - the field's words


class What(IntEnum):
    """What the next round is."""

    ANSWER = 0
    """The call with the client's answers, and with the server's state if it gave one."""
    AGAIN = 1
    """The call as it was, for the server knows nothing of rounds."""


class Opened(Struct, frozen=True):
    """What a client brought back."""

    server: str
    """Which asked."""
    nonce: str
    what: What
    state: Raw | None
    """The server's own, exactly; None: it gave none."""


class _Facts(Struct, frozen=True, array_like=True):
    until_ms: int
    """Wall clock: the text outlives the process."""
    nonce: str
    what: What
    state: Raw


_facts = msgspec.json.Decoder(_Facts).decode


class Seal:
    """Closes and opens states, for one hub."""

    def __init__(self, secret: bytes, clock: Clock, span: Nanoseconds) -> None:
        self._key = hmac.digest(secret, b"requestState", hashlib.sha256)
        self._clock = clock
        self._span = span
        self._used: OrderedDict[str, None] = OrderedDict()

    def close(
        self, call: Call, address: str | None, server: str, what: What, state: Raw | None
    ) -> str:
        """Raises UpstreamProtocol: the server's state is too large."""
        if state is not None and len(bytes(state)) > STATE_MAX:
            raise UpstreamProtocol(f"The server's requestState is over {STATE_MAX} bytes")
        until_ms = (self._clock.wall() + self._span) // MILLISECOND
        kept = Raw(NO_STATE) if state is None else state
        facts = _encode(_Facts(until_ms, secrets.token_urlsafe(12), what, kept))
        signature = self._sign(facts, call, address, server)
        return f"{base64url.encode(facts)}.{base64url.encode(signature)}"

    def open(self, text: str, call: Call, address: str | None, servers: Iterable[str]) -> Opened:
        """What `close` was given for the same call; `servers`: which may have asked.

        Raises InvalidState for whatever is wrong with it.
        """
        try:
            facts, signature = (base64url.decode(part) for part in text.split("."))
        except ValueError:
            raise InvalidState from None
        server = self._signer(facts, signature, call, address, servers)
        if server is None:
            raise InvalidState
        read = _facts(facts)
        if read.nonce in self._used or read.until_ms <= self._clock.wall() // MILLISECOND:
            raise InvalidState
        state = None if bytes(read.state) == NO_STATE else read.state
        return Opened(server, read.nonce, read.what, state)

    def use(self, nonce: str) -> None:
        """Its round has begun."""
        self._used[nonce] = None
        if len(self._used) > USED_MAX:
            self._used.popitem(last=False)

    def release(self, nonce: str) -> None:
        """Its round surely did not take place: the client may try it again."""
        self._used.pop(nonce, None)

    def _signer(
        self,
        facts: bytes,
        signature: bytes,
        call: Call,
        address: str | None,
        servers: Iterable[str],
    ) -> str | None:
        for server in servers:
            if hmac.compare_digest(signature, self._sign(facts, call, address, server)):
                return server
        return None

    def _sign(self, facts: bytes, call: Call, address: str | None, server: str) -> bytes:
        bound = (call.caller.id, address, server, call.digest().hex(), facts)
        return hmac.digest(self._key, _encode(bound), hashlib.sha256)
