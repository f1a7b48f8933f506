"""The hub's settings: a YAML file and `AGENTHUB__…` variables, typed, nothing unknown."""

from pathlib import Path

from msgspec import Struct, field

from agenthub.domain.endpoint import Endpoint


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the hub listens, and for whom."""

    host: str = "127.0.0.1"
    port: int = 8787
    allowed_hosts: tuple[str, ...] = ()
    """Further values of `Host` (name or name:port) beside loopback's; anything else gets 421."""
    allowed_origins: tuple[str, ...] = ()
    """Further values of `Origin` beside the hub's own; anything else gets 403."""


class AuthSettings(Struct, frozen=True, forbid_unknown_fields=True):
    anonymous_loopback: bool = False
    """Lets callers from loopback in without a key, with the scopes tools and read."""


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What bounds the doors (R43, R47). Sizes in bytes, times in milliseconds."""

    connections: int = 10_000
    body_bytes: int = 4 * 1024 * 1024
    header_bytes: int = 16 * 1024
    headers: int = 100
    header_timeout_ms: int = 10_000
    body_timeout_ms: int = 30_000
    keep_alive_ms: int = 75_000
    calls_in_flight: int = 1_000
    response_bytes: int = 10 * 1024 * 1024
    event_bytes: int = 1024 * 1024
    stream_bytes: int = 64 * 1024 * 1024
    client_buffer_bytes: int = 256 * 1024
    """What may wait for a client that reads slowly."""
    drain_ms: int = 10_000
    """How long a stop waits for calls in flight."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    server: ServerSettings = field(default_factory=ServerSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    """Servers written in the file. They win over those added at run time of the same name."""
    demo: bool = True
    """Register the demo servers when nothing else is configured."""


def default_home() -> Path:
    """Where the hub keeps its files: `AGENTHUB_HOME`, or the platform's data folder."""
    raise AssertionError
