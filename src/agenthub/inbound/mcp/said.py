"""What the `_meta` of a request says to the hub, worked out once for all that say the same.

Source: MCP specification 2026-07-28, "Base, _meta".
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Raw, Struct

from agenthub.domain.errors import InvalidParams
from agenthub.inbound.mcp.terms import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    DEADLINE_KEY,
    IDEMPOTENCY_KEY,
    LOG_LEVEL_KEY,
    LOG_LEVELS,
    OURS,
    VERSION_KEY,
)
from agenthub.wire.jsonrpc import Message

_OWN: Final = frozenset({VERSION_KEY, CAPABILITIES_KEY, CLIENT_INFO_KEY})


class Said(Struct, frozen=True, gc=False):
    """Kept in the notes of a message, so it refers to no request."""

    version: str
    """The protocol's; empty if this is no `_meta` of the new era (`check_meta` tells why)."""
    capabilities: bytes
    client_info: bytes
    passed_on: Mapping[str, Raw]
    """What goes on to the server: all but the protocol's own keys and the hub's."""
    deadline: Raw | None
    """How long the client would wait; unread."""
    idempotency_key: Raw | None
    """Unread."""


def said_in(message: Message) -> Said:
    said = message.notes.of_door
    if type(said) is not Said:
        said = message.notes.of_door = _read(message)
    return said


def _read(message: Message) -> Said:
    meta = message.meta
    try:
        check_meta(message)
        version: str = message.parsed["_meta"][VERSION_KEY]
    except InvalidParams:
        version = ""
    return Said(
        version,
        bytes(meta.get(CAPABILITIES_KEY, b"{}")) if version else b"{}",
        bytes(meta.get(CLIENT_INFO_KEY, b"")),
        {k: v for k, v in meta.items() if k not in _OWN and not k.startswith(OURS)},
        meta.get(DEADLINE_KEY),
        meta.get(IDEMPOTENCY_KEY),
    )


def check_meta(message: Message) -> None:
    """That `_meta` says how the request is meant. Raises InvalidParams."""
    meta: Any = message.parsed.get("_meta", {})
    if VERSION_KEY not in meta or CAPABILITIES_KEY not in meta:
        raise InvalidParams(f"params._meta: expected {VERSION_KEY} and {CAPABILITIES_KEY}")
    if type(meta[VERSION_KEY]) is not str:
        raise InvalidParams(f"_meta.{VERSION_KEY}: expected a string")
    if type(meta[CAPABILITIES_KEY]) is not dict:
        raise InvalidParams(f"_meta.{CAPABILITIES_KEY}: expected an object")
    if len(meta) > 2:
        _check_optional_meta(meta)


def _check_optional_meta(meta: Mapping[str, Any]) -> None:
    if type(meta.get(CLIENT_INFO_KEY, meta)) is not dict:
        raise InvalidParams(f"_meta.{CLIENT_INFO_KEY}: expected an object")
    if LOG_LEVEL_KEY in meta and meta[LOG_LEVEL_KEY] not in LOG_LEVELS:
        raise InvalidParams(f"_meta.{LOG_LEVEL_KEY}: expected one of {', '.join(LOG_LEVELS)}")
    if type(meta.get("progressToken", "")) not in {str, int}:
        raise InvalidParams("_meta.progressToken: expected a string or an integer")
