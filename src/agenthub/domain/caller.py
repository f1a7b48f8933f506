"""Who asks: the principal behind a key, and what it may touch."""

from enum import Enum

from msgspec import Struct


class Scope(Enum):
    """What a key opens. `ADMIN` opens everything."""

    TOOLS = "tools"
    """List and call tools, resources and prompts."""
    READ = "read"
    """See servers, breakers, calls and metrics."""
    ADMIN = "admin"
    """Change the hub. Adding a stdio server is running code, so it needs this."""


class Caller(Struct, frozen=True):
    """A principal. Rate limits, idempotency keys and sessions are bound to its `id`."""

    id: str
    """The key's id (never the key), `admin` for the admin token, `anonymous` for loopback."""
    scopes: frozenset[Scope]
    endpoints: frozenset[str] | None = None
    """Names of the endpoints it may see and call; None means all."""

    def may(self, scope: Scope) -> bool:
        """Whether this scope is held, by itself or through `ADMIN`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, endpoint: str) -> bool:
        """Whether this endpoint exists for the caller; what it may not see is unknown to it."""
        return self.endpoints is None or endpoint in self.endpoints
