"""Pinning: whether a tool is still what was approved, and may be used as it is now (T1).

    no pins at all ──► all tools of the first list are pinned: adding a server approves them
    pin = definition ──► approved
    pin ≠ definition ──► changed ─┐   `quarantine`: neither offered nor called
    no pin           ──► new ─────┤   `flag`: used, and told
                                  │   `allow`: used
    approve ◄─────────────────────┘   the pin is what was looked at; going back needs nobody

A trusted server's new tools are pinned when they come, and so are all new ones under `allow`. A
pin changes by approval and by nothing else, whatever the policy: what a server says of replays is
heard only as far as its approved definition said it, too (R30).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from agenthub.domain.endpoint import Endpoint

ALLOW: Final = "allow"
QUARANTINE: Final = "quarantine"


class Standing(Enum):
    """How a tool's definition compares with the approved one."""

    APPROVED = "approved"
    CHANGED = "changed"
    NEW = "new"


class Pin(Struct, frozen=True):
    """A definition, as it was approved."""

    digest: bytes
    """SHA-256."""
    definition: bytes = b""
    """JSON; empty if it was not kept."""


def standing(pin: Pin | None, digest: bytes) -> Standing:
    """Of a tool whose definition has this digest now."""
    if pin is None:
        return Standing.NEW
    return Standing.APPROVED if pin.digest == digest else Standing.CHANGED


def approves_new(endpoint: Endpoint) -> bool:
    """Whether tools that come after the first list need nobody's approval."""
    return endpoint.trust or endpoint.pinning == ALLOW


def withholds(endpoint: Endpoint) -> bool:
    """Whether a tool that is not approved is neither offered nor called."""
    return endpoint.pinning == QUARANTINE


def heard(approved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, bool]:
    """The hints that a changed definition still gives, out of those that were approved (R30)."""
    return {hint: True for hint in now if now[hint] is True and approved.get(hint) is True}
