"""The life of the hub as a process: `agenthub serve`.

    settings ─► home, database ─► socket ─► servers connect (nobody waits for them) ─► listening
    told to stop ─► no new calls ─► those in flight end, at most `drain_ms` ─► the rest is cancelled
                 ─► open streams end ─► servers end ─► everything is durable ─► exit code 0

What goes wrong before it listens ends the start with one sentence; afterwards nothing ends it but
a signal.
"""

import asyncio
import logging
import os
import sys
from contextlib import closing
from typing import Final

import uvloop

from agenthub.app import banner, hub_file
from agenthub.app.address import url_of
from agenthub.app.config_watch import ConfigWatch
from agenthub.app.demo import CALCULATOR, is_demo
from agenthub.app.garbage import Garbage
from agenthub.app.stop import Stop
from agenthub.app.wiring import Opened, open_hub
from agenthub.domain.outcome import Cause
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.hub import Hub
from agenthub.inbound.listener import Listener
from agenthub.inbound.mcp_http import McpHttp
from agenthub.keys import ADMIN
from agenthub.outbound.telemetry import LOG_LEVEL, set_up_log
from agenthub.settings import Options, Settings

log = logging.getLogger(__name__)

POLL_S: Final = 0.01
CANCEL: Final = SECOND
"""How long cancelled calls may take to say so."""
LAST_WORDS_MS: Final = 1_000
"""How long clients may take to read the answers that are left."""
DEMO_WAIT: Final = SECOND
"""How long the banner waits for the demo's process, so that it can name it."""


def run(options: Options) -> int:
    """Serve until a signal; returns the exit code.

    Raises:
        HubError: The hub cannot start; in one sentence.
    """
    set_up_log(os.environ.get(LOG_LEVEL, "info"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))
    return 0


async def _serve(options: Options) -> None:
    with closing(Stop()) as stop:
        watch = ConfigWatch(options)
        async with open_hub(options) as opened:
            hub, settings = opened.hub, opened.hub.settings
            mcp = McpHttp(hub)
            listener = Listener(hub, mcp.hot)
            port = await listener.start()
            try:
                url = url_of(settings.server.host, port)
                hub_file.announce(options.home, url, hub.clock.wall() // SECOND)
                hub.catalog.start()
                with closing(Garbage(hub.clock, lambda: not hub.gateway.in_flight)):
                    _begin(options, opened, url, watch)
                    stop.on_hangup(watch.reload)
                    await stop.wait()
                    log.info("Stopping", extra={"calls_in_flight": len(hub.gateway.in_flight)})
            finally:
                hub_file.withdraw(options.home)
                listener.stop_accepting()
                await drain(hub, settings.limits.drain_ms)
                mcp.close()
                hub.bus.close()
                await listener.close(LAST_WORDS_MS)
        log.info("Stopped")


def _begin(options: Options, opened: Opened, url: str, watch: ConfigWatch) -> None:
    """What goes on beside the calls."""
    hub = opened.hub

    async def take(settings: Settings) -> None:
        await hub.catalog.reload(tuple(settings.endpoints.values()), str(options.file))

    hub.tasks.start(watch.watch(hub.settings, take), "watch over the settings")
    hub.tasks.start(_greet(options, opened, url), "banner")
    log.info("Listening", extra={"url": url, "home": options.home, "pid": os.getpid()})


async def drain(hub: Hub, drain_ms: int) -> None:
    """Let the calls in flight end; after `drain_ms` cancel them, and let that be heard."""
    if not await _emptied(hub, drain_ms * MILLISECOND):
        log.warning("Calls were cancelled", extra={"calls": len(hub.gateway.in_flight)})
        hub.gateway.cancel_all(Cause.SHUTDOWN)
        await _emptied(hub, CANCEL)


async def _emptied(hub: Hub, span: int) -> bool:
    end = hub.clock.now() + span
    while hub.gateway.in_flight:
        if hub.clock.now() >= end:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def _greet(options: Options, opened: Opened, url: str) -> None:
    """Show what there is; a home that never had a client key gets its first one."""
    hub, key = opened.hub, ""
    if opened.is_new:
        _, key = await hub.keys.create("first client")
    servers = len(hub.catalog.servers())
    banner.show(banner.Facts(url, options.home, key, servers, await _demo_pid(hub)), sys.stdout)


async def _demo_pid(hub: Hub) -> int | None:
    """The process of the demo calculator, once it runs; None if there is no demo."""
    end = hub.clock.now() + DEMO_WAIT
    while hub.clock.now() < end:
        server = hub.catalog.find(CALCULATOR, ADMIN)
        if server is None or not is_demo(server.endpoint):
            return None
        if server.state.pid is not None:
            return server.state.pid
        await asyncio.sleep(POLL_S)
    return None
