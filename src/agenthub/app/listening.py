"""A hub that listens, from its opening to its end in order.

    settings ─► home, database ─► socket ─► servers connect (nobody waits for them) ─► listening
    told to stop ─► no new calls ─► those in flight end, at most `drain_ms` ─► the rest is cancelled
                 ─► open streams end ─► servers end ─► everything is durable

Nobody waits for a server here: whoever is there first is served first.
"""

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from typing import Final

from msgspec import Struct

from agenthub.app import hub_file
from agenthub.app.address import url_of
from agenthub.app.config_watch import ConfigWatch
from agenthub.app.garbage import Garbage
from agenthub.app.stop import Stop
from agenthub.app.strain_watch import StrainWatch, memory_reader
from agenthub.app.wiring import open_hub, take_settings
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.hub import Hub
from agenthub.inbound.listener import Listener
from agenthub.inbound.llm.door import LlmHttp
from agenthub.inbound.mcp.transport.streamable_http import McpHttp
from agenthub.inbound.telemetry import TelemetryHttp
from agenthub.settings import Options, Settings

log = logging.getLogger(__name__)

LAST_WORDS_MS: Final = 1_000
"""How long clients may take to read the answers that are left."""


class Listening(Struct, frozen=True):
    """A hub that is up."""

    hub: Hub
    url: str
    is_new: bool
    """Whether its home never had a client key."""


@asynccontextmanager
async def open_listening(options: Options, stop: Stop) -> AsyncGenerator[Listening]:
    """The hub of a home, listening; on leaving it stops in order.

    Raises:
        HubError: It cannot start; in one sentence.
    """
    watch = ConfigWatch(options)
    async with open_hub(options) as opened:
        hub, settings = opened.hub, opened.hub.settings
        mcp, llm, telemetry = McpHttp(hub), LlmHttp(hub), TelemetryHttp(hub)
        listener = Listener(hub, lambda path: mcp.hot(path) or llm.hot(path) or telemetry.hot(path))
        port = await listener.start()
        try:
            url = url_of(settings.server.host, port)
            hub.sign_ins.callers.address = settings.server.public_url.rstrip("/") or url
            hub_file.announce(options.home, url, hub.clock.wall() // SECOND)
            hub.catalog.start()
            _heed(options, hub, watch, stop)
            log.info("Listening", extra={"url": url, "home": options.home, "pid": os.getpid()})
            strained = StrainWatch(hub.clock, hub.strain, hub.gateway, memory_reader())
            garbage = Garbage(hub.clock, lambda: not hub.gateway.in_flight)
            with closing(strained), closing(garbage):
                yield Listening(hub, url, opened.is_new)
            log.info("Stopping", extra={"calls_in_flight": len(hub.gateway.in_flight)})
        finally:
            hub_file.withdraw(options.home)
            listener.stop_accepting()
            await hub.runs.close()  # Answers that go on for minutes end first, and are kept.
            if cancelled := await hub.gateway.drain(settings.limits.drain_ms * MILLISECOND):
                log.warning("Calls were cancelled", extra={"calls": cancelled})
            mcp.close()
            hub.bus.close()
            await listener.close(LAST_WORDS_MS)
    log.info("Stopped")


def _heed(options: Options, hub: Hub, watch: ConfigWatch, stop: Stop) -> None:
    """Take changes of the settings from now on."""

    async def take(settings: Settings) -> None:
        await take_settings(hub, settings, options)

    hub.tasks.start(watch.watch(hub.settings, take), "watch over the settings")
    stop.on_hangup(watch.reload)
