"""A database in a dict (ports.Store); `broken` makes every write fail. See tests/contracts."""

import asyncio
import operator

import msgspec

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.store import TRANSITIONS_MAX
from agenthub.ports import CallPage, Stored


class FakeStore:
    def __init__(self, stored=None, history=()):
        first = stored or Stored((), (), (), {}, {}, {"key-hmac": bytes(32), "session": bytes(32)})
        self.endpoints = {endpoint.name: endpoint for endpoint in first.endpoints}
        self.keys = {row.id: row for row in first.keys}
        self.breakers = {row.key: row for row in first.breakers}
        self.lists = dict(first.lists)
        self.pins = dict(first.pins)
        self.secrets = dict(first.secrets)
        self.views = {view.name: view for view in first.views}
        self.history = list(history)
        self.broken = False
        self.delay = 0
        """Seconds that each write takes."""
        self.writes = []
        """The name of each."""

    async def load(self):
        return Stored(
            _sorted(self.endpoints, "name"), _sorted(self.keys, "created_at", "id"),
            _sorted(self.breakers, "key"), dict(self.lists), dict(self.pins), dict(self.secrets),
            _sorted(self.views, "name"),
        )  # fmt: skip

    async def _write(self, name):
        await asyncio.sleep(self.delay)
        if self.broken:
            raise StorageFailed
        self.writes.append(name)

    async def put_endpoint(self, endpoint):
        await self._write("put_endpoint")
        self.endpoints[endpoint.name] = endpoint

    async def delete_endpoint(self, name):
        await self._write("delete_endpoint")
        self.endpoints.pop(name, None)
        self.lists.pop(name, None)
        self.secrets.pop(f"oauth:{name}", None)
        self.pins = {key: pin for key, pin in self.pins.items() if key[0] != name}
        self.breakers = {
            key: row for key, row in self.breakers.items() if key.partition("/")[0] != name
        }
        self.history = [(of, data) for of, data in self.history if of != name]

    async def put_key(self, row):
        await self._write("put_key")
        self.keys[row.id] = row

    async def put_view(self, view):
        await self._write("put_view")
        self.views[view.name] = view

    async def delete_view(self, name):
        await self._write("delete_view")
        self.views.pop(name, None)

    async def put_secret(self, name, data):
        await self._write("put_secret")
        self.secrets[name] = data

    async def delete_secret(self, name):
        await self._write("delete_secret")
        self.secrets.pop(name, None)

    async def put_list(self, endpoint, data, pins):
        await self._write("put_list")
        self.lists[endpoint] = data
        self._pin(endpoint, pins)

    async def put_pins(self, endpoint, pins):
        await self._write("put_pins")
        self._pin(endpoint, pins)

    def _pin(self, endpoint, pins):
        self.pins |= {(endpoint, tool): pin for tool, pin in pins.items()}

    async def put_breakers(self, rows):
        await self._write("put_breakers")
        self.breakers |= {row.key: row for row in rows}

    async def calls(self, which):
        return CallPage((), None)

    async def transitions(self, endpoint, limit):
        mine = [msgspec.json.decode(data) for of, data in self.history if of == endpoint]
        return mine[::-1][: max(1, min(limit, TRANSITIONS_MAX))]

    async def put_transition(self, endpoint, data):
        await self._write("put_transition")
        self.history.append((endpoint, data))


def _sorted(rows, *by):
    return tuple(sorted(rows.values(), key=operator.attrgetter(*by)))
