"""A small hub before the one that runs: `agenthub stdio` beside `agenthub serve`.

A home has one hub, for it has one database. What this one adds is the way there: one server, the
hub itself, at its `/mcp`. It keeps nothing, limits nothing and repeats nothing, for all of that is
done there.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from agenthub.app import hub_file
from agenthub.app.no_money import NoAlerts, NoMoney
from agenthub.app.no_talk import NoTalk
from agenthub.app.relay_words import Muffled, PlainGateway
from agenthub.app.wiring import Memory, open_house
from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.circuit_breaker import CircuitBreaker
from agenthub.domain.endpoint import Endpoint, Timeouts
from agenthub.domain.errors import HubError
from agenthub.domain.idempotency import Claim, Earlier
from agenthub.domain.pinning import ALLOW, Pin
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.domain.view import FACE, View
from agenthub.hub import Hub
from agenthub.ports import BreakerRow, CallFilter, CallPage, CallRow, KeyRow, Stored
from agenthub.settings import Settings

log = logging.getLogger(__name__)

NAME: Final = "hub"
SETTLE: Final[Nanoseconds] = 2 * SECOND
"""How long a client waits for a hub that has no tools yet: it may have just been started."""
POLL_S: Final = 0.02
LOOK_S: Final = 1.0
LONGEST_MS: Final = 300_000
PLACES: Final = 1_000


@asynccontextmanager
async def open_relay(
    settings: Settings, home: Path, url: str, token: str, view: str | None = None
) -> AsyncGenerator[Hub]:
    """A hub whose server `NAME` is the running one; it follows that to another address.

    `view`: the view that is wanted of it; None: all that it has.
    """
    face = "/mcp" if view is None else f"/mcp/{FACE}{view}"
    none = Stored((), (), (), {}, {}, {"key-hmac": b"", "session": b""})
    nowhere, free = Nowhere(), NoMoney()
    memory = Memory(
        nowhere, nowhere, nowhere, free, free, NoAlerts(), NoTalk(), none, lambda: "", token, bytes
    )  # fmt: skip
    async with open_house(settings, memory, PlainGateway, Muffled) as hub:
        hub.catalog.load((_way(url + face, token),), none)
        hub.catalog.get(NAME).lane.restore(_unbreakable(hub.clock.now()))
        hub.catalog.start()
        await _listed(hub)
        hub.tasks.start(_follow(hub, home, lambda url: _way(url + face, token), url), "follow it")
        yield hub


def _unbreakable(now: Nanoseconds) -> CircuitBreaker:
    """The running hub has breakers of its own. Nobody hears of this one: no operator forced it."""
    breaker = CircuitBreaker(NAME, BreakerConfig(), lambda _: None)
    breaker.force_close(now, "the hub has its own breakers", None)
    return breaker


async def _listed(hub: Hub) -> None:
    end, server = hub.clock.now() + SETTLE, hub.catalog.get(NAME)
    while not (server.listing and server.listing.tools) and hub.clock.now() < end:  # noqa: ASYNC110 - its events came before
        await asyncio.sleep(POLL_S)
    if server.listing is None and server.state.problem:
        log.warning("The hub shows no tools", extra={"problem": server.state.problem})


def _way(url: str, token: str) -> Endpoint:
    return Endpoint(
        NAME,
        url=url,
        headers={"Authorization": f"Bearer {token}"},
        rate_limit=None,
        concurrency=PLACES,
        attempts=1,
        pinning=ALLOW,
        validate_arguments=False,
        timeouts=Timeouts(idle_ms=LONGEST_MS, call_ms=LONGEST_MS),
    )


async def _follow(hub: Hub, home: Path, way: Callable[[str], Endpoint], url: str) -> None:
    """When the hub was started anew, it may have another address."""
    while True:
        await asyncio.sleep(LOOK_S)
        if hub.catalog.get(NAME).state.connected:
            continue
        with suppress(HubError):
            running = await asyncio.to_thread(hub_file.find, home)
            if running is not None and running.url != url:
                url = running.url
                await hub.catalog.replace(NAME, way(url))
                log.info("The hub has another address", extra={"url": url})


class Nowhere:
    """ports.Store, ports.CallLog and ports.ClaimLog that keep nothing."""

    def add(self, row: CallRow) -> None: ...

    def claim(self, claim: Claim, told: Callable[[Earlier | HubError | None], None]) -> None:
        del claim
        told(None)

    def finish(self, claim: Claim, answer: bytes) -> None: ...

    def forget(self, claim: Claim) -> None: ...

    async def load(self) -> Stored:
        return Stored((), (), (), {}, {}, {})

    async def put_endpoint(self, endpoint: Endpoint) -> None: ...

    async def delete_endpoint(self, name: str) -> None: ...

    async def put_key(self, row: KeyRow) -> None: ...

    async def put_view(self, view: View) -> None: ...

    async def delete_view(self, name: str) -> None: ...
    async def put_secret(self, name: str, data: bytes) -> None: ...

    async def delete_secret(self, name: str) -> None: ...

    async def put_list(self, endpoint: str, data: bytes, pins: Mapping[str, Pin]) -> None: ...

    async def put_pins(self, endpoint: str, pins: Mapping[str, Pin]) -> None: ...

    async def put_breakers(self, rows: Sequence[BreakerRow]) -> None: ...

    async def calls(self, which: CallFilter) -> CallPage:
        del which
        return CallPage((), None)

    async def transitions(self, endpoint: str, limit: int) -> Sequence[Mapping[str, object]]:
        del endpoint, limit
        return ()

    async def put_transition(self, endpoint: str, data: bytes) -> None: ...
