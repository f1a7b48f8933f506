"""What a server offers, as last known: kept while it is away, rendered once per change.

Its tools are held against the definitions that were approved (domain/pinning.py). That is done
once per change as well: what is withheld is in no list and has no route.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from agenthub.domain import alias
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import ToolChanged, UnknownTarget
from agenthub.domain.pinning import ALLOW, Pin, Standing, approves_new, standing, withholds
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.domain.target import join
from agenthub.listing import ITEMS_MAX, Guise, Kind, Listing, ToolFacts, pin_of, render
from agenthub.ports import Clock
from agenthub.wire.suspicion import suspicions, visible, visible_item

RENDERED_MAX: Final = 16
"""Renderings kept: four kinds, prefixed or not, and a few reasons why it is unavailable."""
PINS_MAX: Final = ITEMS_MAX
"""Of one server; tools beyond are never approved by themselves."""


class PendingTool(Struct, frozen=True):
    """A tool that is not as it was approved, and both definitions."""

    name: str
    standing: Standing
    withheld: bool
    approved: Pin | None
    """None if there never was one."""
    now: Pin


class OfferedTool(Struct, frozen=True):
    """A tool as clients get it."""

    name: str
    definition: bytes
    standing: Standing
    suspicions: tuple[str, ...]


class Offer:
    """One server's lists, the pinned definitions of its tools, and both as calls need them."""

    def __init__(self, endpoint: Endpoint, now: Nanoseconds) -> None:
        self.listing: Listing | None = None
        self.good_at = now
        """When what is listed was last known to be good."""
        self.instructions = ""
        """As clients get them."""
        self.pending: Mapping[str, Standing] = {}
        """Tools that are not as they were approved, where that matters."""
        self.withheld: frozenset[str] = frozenset()
        """Those of them that are neither offered nor called."""
        self._endpoint = endpoint
        self._pins: dict[str, Pin] = {}
        self._items: dict[str, Raw] = {}
        self._now: dict[str, Pin] = {}
        """Each tool's definition as it is now."""
        self._facts: dict[str, ToolFacts] = {}
        self._suspicions: dict[str, tuple[str, ...]] = {}
        self._rendered: dict[tuple[Kind, Guise], bytes] = {}
        self._each: dict[tuple[Kind, Guise], Sequence[tuple[str, bytes]]] = {}
        self._aliased: dict[str, str] | None = None
        """By the digest in its alias: each tool that has one. None: to be worked out."""

    def take(self, listing: Listing, now: Nanoseconds) -> frozenset[Kind]:
        """Replace the lists; returns which are others than before."""
        old, self.listing, self.good_at = self.listing or Listing(), listing, now
        others = frozenset(kind for kind in Kind if old.items(kind) != listing.items(kind))
        self.instructions = visible(listing.instructions)
        if not others:
            # What was worked out stands, and there is one copy of each item.
            self.listing = structs.replace(
                listing, tools=old.tools, prompts=old.prompts, resources=old.resources,
                templates=old.templates,
            )  # fmt: skip
            return others
        self._aliased = None
        self._items = {msgspec.json.decode(item, type=_Name).name: item for item in listing.tools}
        self._now = {name: self._same(name, pin_of(item)) for name, item in self._items.items()}
        self._suspicions.clear()
        self._judge()
        return others

    def restore(self, listing: Listing | None, pins: Mapping[str, Pin], clock: Clock) -> None:
        """Take what was kept over a restart, as old as it is."""
        self._pins = dict(pins)
        if listing is not None:
            age = clock.wall() // SECOND - listing.listed_at_s
            self.take(listing, clock.now() - max(age, 0) * SECOND)

    def reconfigure(self, endpoint: Endpoint) -> None:
        """Judge by these settings from now on."""
        self._endpoint = endpoint
        self._judge()

    def still_good(self, clock: Clock) -> bool:
        """It was good until now. Returns whether there is anything."""
        self.good_at = clock.now()
        if self.listing is None:
            return False
        self.listing = structs.replace(self.listing, listed_at_s=clock.wall() // SECOND)
        return True

    # ------------------------------------------------------------ approval

    def pin(self) -> Mapping[str, Pin]:
        """Pin what needs nobody's approval; returns the pins that are new (T1)."""
        fresh: dict[str, Pin] = {}
        if not self._pins or approves_new(self._endpoint):
            new = [name for name in self._now if name not in self._pins]
            room = max(PINS_MAX - len(self._pins), 0)
            fresh = {name: self._now[name] for name in new[:room]}
        for name, now in self._now.items():
            pin = self._pins.get(name)
            if pin and not pin.definition and pin.digest == now.digest:
                fresh[name] = now  # The text was not kept when it was approved.
        if fresh:
            self.approve(fresh)
        return fresh

    def look(self, digests: Mapping[str, bytes]) -> Mapping[str, Pin]:
        """The pins that approve these tools, by the digests of what was looked at.

        Raises UnknownTarget, or ToolChanged for a tool that is another by now.
        """
        for name, digest in digests.items():
            now = self._now.get(name)
            if now is None:
                raise UnknownTarget(f"Unknown tool: {name[:128]}", tool=name[:128])
            if now.digest != digest:
                raise ToolChanged(
                    f"The definition of {name} is not the one that was looked at", tool=name
                )
        return {name: self._now[name] for name in digests}

    def approve(self, pins: Mapping[str, Pin]) -> None:
        self._pins |= pins
        self._judge()

    def _same(self, name: str, now: Pin) -> Pin:
        """The pin itself if that is what it is now, so that there is one copy of it."""
        pin = self._pins.get(name)
        return pin if pin is not None and pin == now else now

    def _judge(self) -> None:
        """Hold what there is against what was approved, and forget what followed from that."""
        standings = {
            name: standing(self._pins.get(name), now.digest) for name, now in self._now.items()
        }
        endpoint = self._endpoint
        self.pending = {
            name: one
            for name, one in standings.items()
            if endpoint.pinning != ALLOW
            and (one is Standing.CHANGED or (one is Standing.NEW and not approves_new(endpoint)))
        }
        self.withheld = frozenset(self.pending if withholds(endpoint) else ())
        self._facts.clear()
        self._rendered.clear()
        self._each.clear()

    def pending_tools(self) -> Sequence[PendingTool]:
        return [
            PendingTool(name, one, name in self.withheld, self._pins.get(name), self._now[name])
            for name, one in self.pending.items()
        ]

    # ------------------------------------------------------------ what is shown

    def facts(self, tool: str) -> ToolFacts | None:
        facts = self._facts.get(tool)
        if facts is None and (item := self._items.get(tool)) is not None:
            facts = self._facts[tool] = ToolFacts(item, self._pins.get(tool))
        return facts

    def tools(self) -> Sequence[OfferedTool]:
        """What is offered of its tools, in order of name."""
        return [
            OfferedTool(
                name,
                visible_item(bytes(item)),
                self.pending.get(name, Standing.APPROVED),
                self.suspicions(name),
            )
            for name, item in self._items.items()
            if name not in self.withheld
        ]

    def suspicions(self, tool: str) -> tuple[str, ...]:
        """What is odd in its definition."""
        found = self._suspicions.get(tool)
        if found is None:
            definition = msgspec.json.decode(self._now[tool].definition)
            found = self._suspicions[tool] = suspicions(definition)
        return found

    def aliased(self, name: str) -> str | None:
        """The tool with this alias, among those of all servers."""
        if self._aliased is None:
            full = {tool: join(self._endpoint.name, tool) for tool in self._items}
            # What fits the stricter style has no alias in the other.
            self._aliased = {
                alias.digest(name): tool
                for tool, name in full.items()
                if alias.alias(name, alias.SAFE) != name
            }
        tool = self._aliased.get(name[-alias.DIGEST :])
        if tool is None:
            return None
        full_name = join(self._endpoint.name, tool)
        return tool if any(alias.alias(full_name, s) == name for s in alias.STYLES) else None

    def rendered(self, kind: Kind, guise: Guise) -> bytes:
        """What is shown of a kind, joined by commas, ready for a list's array."""
        piece = self._rendered.get((kind, guise))
        if piece is None:
            if len(self._rendered) >= RENDERED_MAX:
                self._rendered.clear()
            items = render(self._offered(kind), kind, guise)
            piece = self._rendered[kind, guise] = b",".join(item for _, item in items)
        return piece

    def items(self, kind: Kind, guise: Guise) -> Sequence[tuple[str, bytes]]:
        """The same, one by one, for who is not shown all: each item's own name, and the item."""
        items = self._each.get((kind, guise))
        if items is None:
            if len(self._each) >= RENDERED_MAX:
                self._each.clear()
            items = self._each[kind, guise] = render(self._offered(kind), kind, guise)
        return items

    def _offered(self, kind: Kind) -> Sequence[Raw]:
        """As the server said it."""
        if self.listing is None:
            return ()
        if kind is not Kind.TOOLS or not self.withheld:
            return self.listing.items(kind)
        return [item for name, item in self._items.items() if name not in self.withheld]


class _Name(Struct):
    name: str
