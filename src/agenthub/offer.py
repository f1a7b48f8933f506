"""What a server offers, as last known: kept while it is away, rendered once per change."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.listing import Kind, Listing, ToolFacts, pins, render
from agenthub.ports import Clock

RENDERED_MAX = 16
"""Renderings kept: four kinds, prefixed or not, and a few reasons why it is unavailable."""


class Offer:
    """One server's lists, the pinned definitions of its tools, and both as calls need them."""

    def __init__(self, now: Nanoseconds) -> None:
        self.listing: Listing | None = None
        self.good_at = now
        """When what is listed was last known to be good."""
        self._pins: Mapping[str, bytes] = {}
        self._items: dict[str, Raw] = {}
        self._facts: dict[str, ToolFacts] = {}
        self._rendered: dict[tuple[Kind, str, str], bytes] = {}

    def take(self, listing: Listing, now: Nanoseconds) -> frozenset[Kind]:
        """Replace the lists; returns which are others than before."""
        old, self.listing, self.good_at = self.listing or Listing(), listing, now
        self._facts.clear()
        self._rendered.clear()
        self._items = {msgspec.json.decode(item, type=_Name).name: item for item in listing.tools}
        return frozenset(kind for kind in Kind if old.items(kind) != listing.items(kind))

    def restore(self, listing: Listing, pinned: Mapping[str, bytes], clock: Clock) -> None:
        """Take what was kept over a restart, as old as it is."""
        age = clock.wall() // SECOND - listing.listed_at_s
        self._pins = pinned
        self.take(listing, clock.now() - max(age, 0) * SECOND)

    def pin(self) -> Mapping[str, bytes]:
        """Pin each tool that has no pin, and return those (T1)."""
        if self.listing is None:
            return {}
        fresh = {tool: pin for tool, pin in pins(self.listing).items() if tool not in self._pins}
        if fresh:
            self._pins = {**self._pins, **fresh}
            self._facts.clear()
        return fresh

    def still_good(self, clock: Clock) -> bool:
        """It was good until now. Returns whether there is anything."""
        self.good_at = clock.now()
        if self.listing is None:
            return False
        self.listing = structs.replace(self.listing, listed_at_s=clock.wall() // SECOND)
        return True

    def facts(self, tool: str) -> ToolFacts | None:
        facts = self._facts.get(tool)
        if facts is None and (item := self._items.get(tool)) is not None:
            facts = self._facts[tool] = ToolFacts(item, self._pins.get(tool))
        return facts

    def rendered(self, kind: Kind, prefix: str, unavailable: str) -> bytes:
        if self.listing is None:
            return b""
        key = (kind, prefix, unavailable)
        piece = self._rendered.get(key)
        if piece is None:
            if len(self._rendered) >= RENDERED_MAX:
                self._rendered.clear()
            piece = self._rendered[key] = render(self.listing, kind, prefix, unavailable)
        return piece


class _Name(Struct):
    name: str
