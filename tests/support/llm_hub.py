"""A house with the door of models: `async with models(provider("p")) as hub: hub(chat("p/small"))`.

The waist is real (support/house.py), providers are fakes or the demo, the time is virtual.
"""

import asyncio
import json
from contextlib import asynccontextmanager

from support.exchange import FakeExchange
from support.house import ANNA, House
from support.virtual_time import settled

from agenthub.demo.model import DemoModel
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.provider import Llm
from agenthub.inbound.exchange import Request
from agenthub.inbound.llm.door import LlmHttp
from agenthub.outbound.prices import CatalogPrices
from agenthub.settings import LimitSettings, Settings

DEMO = completed(Endpoint("demo", llm=Llm(preset="demo")))


class LlmHub:
    """What the door expects of the hub, and the door; calling it asks."""

    def __init__(self, built, limits=None):
        self.house = built
        self.settings = Settings(limits=limits or LimitSettings())
        self.door = LlmHttp(self)

    def __getattr__(self, name):
        return getattr(self.house, name)

    def __getitem__(self, name):
        return self.house[name]

    def send(self, exchange):
        hot = self.door.hot(exchange.request.path)
        assert hot is not None, exchange.request.path
        hot(exchange)
        return exchange

    async def __call__(self, exchange, seconds=5):
        self.send(exchange)
        await asyncio.sleep(seconds)
        await settled()
        return exchange


class ModelHouse(House):
    """Endpoints without an address are the demo model."""

    def _connect(self, endpoint, watcher):
        if endpoint.llm is not None and endpoint.url is None:
            return DemoModel(watcher, self.clock)
        return super()._connect(endpoint, watcher)


@asynccontextmanager
async def models(*endpoints, limits=None, demo_prices=False):
    built = ModelHouse()
    if demo_prices:
        built.till.prices = CatalogPrices(())
    stored = await built.store.load()
    built.catalog.load(list(endpoints), stored)
    built.catalog.start()
    await asyncio.sleep(0.5)
    await settled()
    try:
        yield LlmHub(built, limits)
    finally:
        await built.tasks.close()
        await built.catalog.close()


def ask(path, said=None, *, method="POST", query=b"", caller=ANNA, body=None, **headers):
    """An exchange at this address; `headers` by short name."""
    listed = tuple((name.replace("_", "-").encode(), value) for name, value in headers.items())
    data = json.dumps(said).encode() if body is None and said is not None else body or b""
    return FakeExchange(Request(method, path, query, listed, data), caller)


def chat(model="demo-1", text="Hello", **more):
    headers = {name: more.pop(name) for name in list(more) if name.startswith("x_")}
    caller = more.pop("caller", ANNA)
    messages = [{"role": "user", "content": text}]
    said = {"model": model, "messages": messages, **more}
    return ask("/v1/chat/completions", said, caller=caller, **headers)
