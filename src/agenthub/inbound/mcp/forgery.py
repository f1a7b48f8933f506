"""What a server says in the hub's name is taken out of what it says (attack A34)."""

from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from agenthub.domain.outcome import NOTHING
from agenthub.inbound.mcp.terms import OURS

OWN_CODES: Final = range(-31099, -31000)
"""Of JSON-RPC errors that only the hub makes."""

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


class _Code(Struct):
    code: int = 0


class _Head(Struct):
    meta: Raw = field(name="_meta", default=NOTHING)


_head = msgspec.json.Decoder(_Head).decode


def honest_meta(meta: Raw) -> dict[str, Raw]:
    """The members of a `_meta` without the hub's own; empty if it is no object."""
    members = _members(meta) if bytes(meta)[:1] == b"{" else {}
    return {key: value for key, value in members.items() if not key.startswith(OURS)}


def without_hub_keys(raw: bytes) -> bytes:
    """A result, or a notification's params, without forged keys in `_meta`; else as it came."""
    if b'_meta"' not in raw and b"\\u" not in raw:
        return raw
    meta = _head(raw).meta
    if bytes(meta)[:1] != b"{" or not any(key.startswith(OURS) for key in _members(meta)):
        return raw
    return _encode({**_members(raw), "_meta": honest_meta(meta)})


def is_forged(error: Raw) -> bool:
    """Whether an error object has a code of the hub's."""
    return msgspec.json.decode(error, type=_Code).code in OWN_CODES
