"""What is kept of servers over a restart: their lists, the pins of their tools, their breakers.

Keeping goes on beside the calls and fails alone: what could not be written is told, tried again
with the next change, and costs no call anything.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

import msgspec

from agenthub.domain.errors import HubError
from agenthub.domain.events import BreakerChanged
from agenthub.domain.pinning import Pin
from agenthub.listing import Listing
from agenthub.ports import BreakerRow, Clock, Store, Stored
from agenthub.server import Server
from agenthub.tasks import Tasks

Teller = Callable[[str, str], None]
"""Is told of a server, by name, what went wrong."""


class Memory:
    """Writes to the store what servers learn, and gives it back to them after a restart."""

    def __init__(self, store: Store, clock: Clock, tasks: Tasks, tell: Teller) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._tell = tell
        self._unsaved: dict[str, Server] = {}
        self._saving = asyncio.Lock()
        self._lists: Mapping[str, bytes] = {}
        self._pins: Mapping[str, Mapping[str, Pin]] = {}
        self._unkept: dict[str, Mapping[str, Pin]] = {}
        """Pins that could not be written."""
        self._breakers: Mapping[str, list[BreakerRow]] = {}

    # ------------------------------------------------------------ giving back

    def take(self, stored: Stored) -> None:
        """What the database had at start; held until `forget`."""
        pins: dict[str, dict[str, Pin]] = defaultdict(dict)
        for (server, tool), pin in stored.pins.items():
            pins[server][tool] = pin
        breakers: dict[str, list[BreakerRow]] = defaultdict(list)
        for row in stored.breakers:
            breakers[row.key.partition("/")[0]].append(row)
        self._lists, self._pins, self._breakers = stored.lists, pins, breakers

    def forget(self) -> None:
        self._lists, self._pins, self._breakers = {}, {}, {}

    def restore(self, server: Server) -> None:
        """Give a new server what was kept of the one with its name."""
        for row in self._breakers.get(server.name, ()):
            server.restore_breaker(row.key.partition("/")[2], row.data)
        listing, pins = None, self._pins.get(server.name, {})
        try:
            if (data := self._lists.get(server.name)) is not None:
                listing = msgspec.json.decode(data, type=Listing)
        except ValueError:  # msgspec's errors are such
            self._tell(server.name, "its kept lists were unreadable")
        if listing is not None or pins:
            server.restore(listing, pins)

    # ------------------------------------------------------------ keeping

    def listed(self, server: Server) -> bool:
        """Its lists are new. Pins what nobody has to approve; returns whether anything was."""
        fresh = server.pin()
        self._tasks.start(self._keep_lists(server, fresh), f"keep lists of {server.name}")
        return bool(fresh)

    async def _keep_lists(self, server: Server, fresh: Mapping[str, Pin]) -> None:
        name = server.name
        pins = {**self._unkept.pop(name, {}), **fresh}
        try:
            await self._store.put_list(name, msgspec.json.encode(server.listing), pins)
        except HubError as error:
            self._unkept[name] = {**pins, **self._unkept.get(name, {})}
            self._tell(name, f"its lists could not be kept: {error}")

    async def approve(self, server: Server, digests: Mapping[str, bytes]) -> None:
        """Pin tools as they were looked at.

        Raises UnknownTarget, ToolChanged, StorageFailed; then nothing has changed.
        """
        pins = server.look(digests)
        await self._store.put_pins(server.name, pins)
        server.approve(pins)

    def breaker_changed(self, server: Server, event: BreakerChanged) -> None:
        self._unsaved[server.name] = server
        self._tasks.start(self._keep_transition(server.name, event), "keep a transition")

    async def _keep_transition(self, name: str, event: BreakerChanged) -> None:
        try:
            await self._store.put_transition(name, msgspec.json.encode(event))
            await self.save_breakers()
        except HubError as error:
            self._tell(name, f"a breaker's state could not be kept: {error}")

    async def save_breakers(self) -> None:
        """Keep the state of every breaker that moved (R17). Raises StorageFailed."""
        async with self._saving:
            servers, self._unsaved = self._unsaved, {}
            rows = [row for server in servers.values() for row in self._rows(server)]
            if not rows:
                return
            try:
                await self._store.put_breakers(rows)
            except HubError:
                self._unsaved = servers | self._unsaved
                raise

    def _rows(self, server: Server) -> list[BreakerRow]:
        now, wall, boot_id = self._clock.now(), self._clock.wall(), self._clock.boot_id
        rows = [BreakerRow(server.name, server.lane.breaker.dump(now, wall, boot_id))]
        for name, tool in server.lane.tools.items():
            if tool.breaker:
                key = f"{server.name}/{name}"
                rows.append(BreakerRow(key, tool.breaker.dump(now, wall, boot_id)))
        return rows

    async def delete(self, name: str) -> None:
        """Forget a server, and what was kept of it. Raises StorageFailed."""
        self._unsaved.pop(name, None)
        self._unkept.pop(name, None)
        await self._store.delete_endpoint(name)
