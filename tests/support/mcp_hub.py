"""A house with MCP doors: `async with doors("calculator") as hub: await hub(modern("tools/list"))`.

The waist is real (support/house.py), the servers are fakes, the time is virtual.
"""

import asyncio
from contextlib import asynccontextmanager

from msgspec import structs
from support.house import house, server
from support.virtual_time import settled

from agenthub.inbound.mcp.transport.streamable_http import McpHttp
from agenthub.keys import KeyRing
from agenthub.settings import LimitSettings, Settings

SECRET = b"s" * 32


class Bus:
    """bus.EventBus, as far as doors know it."""

    def __init__(self):
        self.sinks = []

    def tell(self, event):
        for sink in self.sinks:
            sink(event)


class McpHub:
    """What a door expects of the hub, and the HTTP door itself; calling it asks the door."""

    def __init__(self, built, limits):
        self.house = built
        self.settings = Settings(limits=limits or LimitSettings())
        self.session_secret = SECRET
        self.bus = Bus()
        self.keys = self.key_ring()
        self.keys.views = built.catalog.views.all
        built.catalog.views.listeners.append(self.keys.forget)
        keep = built.events.event
        built.events.event = lambda event: (keep(event), self.bus.tell(event))
        self.door = McpHttp(self)

    def key_ring(self):
        return KeyRing([], bytes(32), "admin", self.house.store, self.house.clock)

    def __getattr__(self, name):
        return getattr(self.house, name)

    def __getitem__(self, name):
        return self.house[name]

    def send(self, exchange):
        """Ask, and wait for nothing."""
        hot = self.door.hot(exchange.request.path)
        assert hot is not None, exchange.request.path
        hot(exchange)
        return exchange

    async def __call__(self, exchange, seconds=0.5):
        """Ask, and let a little time pass."""
        self.send(exchange)
        await asyncio.sleep(seconds)
        await settled()
        return exchange


@asynccontextmanager
async def doors(*endpoints, limits=None, **more):
    async with house(*endpoints, **more) as built:
        hub = McpHub(built, limits)
        try:
            yield hub
        finally:
            hub.door.close()


__all__ = ["McpHub", "doors", "server", "structs"]
