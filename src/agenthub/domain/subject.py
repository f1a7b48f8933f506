"""The access token that a caller came in with: the subject of a token exchange.

It is for the hub, and for an authorization server that the operator names; never for a server
behind the hub, nor for a log or a disk. So it is no Struct, and shows itself to nobody who does not
ask for it by name.
Source: RFC 8693; MCP specification 2026-07-28, "Authorization, Token Passthrough"; attack A25.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agenthub.domain.span import Nanoseconds

RIGHTS: Final = (
    "act", "aud", "authorization_details", "azp", "client_id", "cnf", "scope", "scp",
)  # fmt: skip
"""Claims that say what a token is good for, and in whose hands."""


class Subject:
    """One token; two of equal `rights` may stand for each other."""

    __slots__ = ("_token", "ends", "rights")

    def __init__(self, token: str, rights: str, ends: Nanoseconds) -> None:
        self._token = token
        self.rights = rights
        """What was got for one of these rights is not used for another."""
        self.ends = ends
        """Wall time."""

    def reveal(self) -> str:
        """The token itself."""
        return self._token

    def __repr__(self) -> str:
        return "Subject(…)"


def rights_of(claims: Mapping[str, Any]) -> str:
    """Names the rights of a token, by its claims."""
    said = {name: claims[name] for name in RIGHTS if name in claims}
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16]
