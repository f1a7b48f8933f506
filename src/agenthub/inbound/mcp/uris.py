"""URIs in results, where names of many servers meet: each with its server's prefix.

Every other byte of what has a URI in it stays; what has none is not looked into.
"""

from collections.abc import Callable

import msgspec
from msgspec import Raw

from agenthub.domain import target
from agenthub.domain.outcome import NOTHING

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def put_prefixes(members: dict[str, Raw], method: str, face: str) -> None:
    """Give the URIs in a result the form in which the client can read them.

    `face`: the server's name. Raises ValueError for a result of the wrong shape.
    """
    if method == "resources/read":
        _each(members, "contents", lambda item: _with_prefix(item, face))
    elif method == "tools/call":
        _each(members, "content", lambda block: _block(block, face))
    elif method == "prompts/get":
        _each(members, "messages", lambda message: _prompt_message(message, face))


def _each(members: dict[str, Raw], key: str, change: Callable[[Raw], Raw]) -> None:
    if key in members:
        items = msgspec.json.decode(members[key], type=list[Raw])
        members[key] = Raw(_encode([change(item) for item in items]))


def _prompt_message(message: Raw, face: str) -> Raw:
    members = _members(message)
    if "content" in members:
        members["content"] = _block(members["content"], face)
    return Raw(_encode(members))


def _block(block: Raw, face: str) -> Raw:
    """A content block; only links and embedded resources have a URI."""
    if b'"resource' not in bytes(block):
        return block
    members = _members(block)
    kind = bytes(members.get("type", NOTHING))
    if kind == b'"resource_link"':
        return _with_prefix(block, face)
    if kind == b'"resource"' and "resource" in members:
        members["resource"] = _with_prefix(members["resource"], face)
        return Raw(_encode(members))
    return block


def _with_prefix(item: Raw, face: str) -> Raw:
    members = _members(item)
    if "uri" in members:
        uri = msgspec.json.decode(members["uri"], type=str)
        members["uri"] = Raw(_encode(target.join_uri(face, uri)))
    return Raw(_encode(members))
