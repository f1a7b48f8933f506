"""How long a client may keep a list or a resource, and with whom it may share it.

    each server's own word ─► where many meet: the shortest, and public only if all are public

What a server does not say, or says in the wrong shape, counts as 0 and private. Nothing is public
where what is seen depends on who asks: the doors know that of keys (`KeyRing.alike`), and a
server's settings of tokens that are each caller's own (`Endpoint.is_per_caller`).

Source: MCP specification 2026-07-28, "Server, Utilities, Caching" (SEP-2549).
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw, Struct

TTL_MAX_MS: Final = 3_600_000
"""Of a list, whatever its server says: who does not listen hears of a server that the operator
added after an hour at the latest."""
PUBLIC: Final = b'"public"'
PRIVATE: Final = b'"private"'


class Caching(Struct, frozen=True):
    """Of one list."""

    ttl_ms: int = 0
    public: bool = False


OF_NOTHING: Final = Caching(60_000, public=True)
"""Where there is no server whose word would count."""


def caching(ttl: Raw, scope: Raw) -> Caching:
    """What a server said with a list."""
    return Caching(min(ttl_of(ttl) or 0, TTL_MAX_MS), bytes(scope) == PUBLIC)


def merged(parts: Iterable[Caching]) -> Caching:
    """Of one list that is made of these."""
    every = list(parts) or [OF_NOTHING]
    return Caching(min(one.ttl_ms for one in every), all(one.public for one in every))


def ttl_of(raw: Raw) -> int | None:
    """Milliseconds; None: there is no such number."""
    try:
        ttl = msgspec.json.decode(raw, type=int)
    except ValueError:
        return None
    return ttl if ttl >= 0 else None
