"""`agenthub serve`: the hub until a signal.

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

from agenthub.app import banner
from agenthub.app.arena import keep_freed
from agenthub.app.demo import CALCULATOR, is_demo
from agenthub.app.listening import Listening, open_listening
from agenthub.app.stop import Stop
from agenthub.domain.errors import HubError
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.hub import Hub
from agenthub.keys import ADMIN
from agenthub.outbound.telemetry import LOG_LEVEL, set_up_log
from agenthub.settings import Options

log = logging.getLogger(__name__)

POLL_S: Final = 0.01
DEMO_WAIT: Final[Nanoseconds] = SECOND
"""How long the banner waits for the demo's process, so that it can name it."""


def run(options: Options) -> int:
    """Serve until a signal; returns the exit code.

    Raises:
        HubError: The hub cannot start; in one sentence.
    """
    set_up_log(os.environ.get(LOG_LEVEL, "info"))
    keep_freed()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))
    return 0


async def _serve(options: Options) -> None:
    with closing(Stop()) as stop:
        async with open_listening(options, stop) as listening:
            listening.hub.tasks.start(_greet(options, listening), "banner")
            await stop.wait()


async def _greet(options: Options, listening: Listening) -> None:
    """Show what there is; a home that never had a client key gets its first one."""
    hub, key = listening.hub, ""
    if listening.is_new:
        try:
            _, key = await hub.keys.create("first client")
        except HubError as error:
            log.error("No client key could be made", extra={"problem": str(error)})  # noqa: TRY400 - a full disk is no bug
    servers = len(hub.catalog.servers())
    facts = banner.Facts(listening.url, options.home, key, servers, await _demo_pid(hub))
    banner.show(facts, sys.stdout)


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
