"""`agenthub stdio`: the hub for one client, on stdin and stdout.

The home's hub may run already; then this is a way to it (`relay.py`). Else this process is the
hub, and listens on loopback too, so that commands and other clients reach it.
"""

import asyncio
import json
import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

import uvloop
from msgspec import structs

from agenthub.app import admin_token, hub_file
from agenthub.app.hub_file import Running
from agenthub.app.listening import open_listening
from agenthub.app.private_file import read_private
from agenthub.app.relay import NAME, open_relay
from agenthub.app.settling import settled
from agenthub.app.stop import Stop
from agenthub.domain.errors import StorageFailed, UnknownTarget, UpstreamUnavailable
from agenthub.domain.view import FACE
from agenthub.hub import Hub
from agenthub.inbound.mcp.transport.stdio import StdioDoor
from agenthub.outbound.home import holder
from agenthub.outbound.telemetry import LOG_LEVEL, set_up_log
from agenthub.settings import Options
from agenthub.tasks import Tasks

OTHER_S: Final = 10.0
"""How long a hub that has just been started may take until it listens."""
POLL_S: Final = 0.02
VIEWS_S: Final = 5.0
"""How long the hub that runs may take to tell its views."""
SETTLE_S: Final = 2.0
"""So long a client waits for servers that were never listed: many ask for the tools only once."""


def run(options: Options, view: str | None) -> int:
    """Serve the client until it ends its input, or a signal comes; returns the exit code."""
    set_up_log(os.environ.get(LOG_LEVEL, "warning"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, view))
    return 0


async def _serve(options: Options, view: str | None) -> None:
    with closing(Stop()) as stop:
        running = hub_file.find(options.home)
        if running is None:
            try:
                await _be_the_hub(options, view, stop)
            except StorageFailed:
                running = await _other_hub(options.home)
                if running is None:
                    raise
        if running is not None:
            await _relay(options, running, view, stop)


async def _be_the_hub(options: Options, view: str | None, stop: Stop) -> None:
    here = structs.replace(options, host="127.0.0.1", port=0)
    async with open_listening(here, stop) as listening:
        hub = listening.hub
        _check_view(view, hub.catalog.views.all)
        face = None if view is None else FACE + view
        unknown = [s.name for s in hub.catalog.servers() if s.endpoint.enabled and not s.listing]
        await settled(hub, unknown, SETTLE_S)
        await _talk(hub, face, stop)


async def _relay(options: Options, running: Running, view: str | None, stop: Stop) -> None:
    token = read_private(options.home / admin_token.FILE)
    if token is None:
        raise StorageFailed(f"{options.home / admin_token.FILE} is gone; start the hub anew.")
    token = token.strip()
    if view is not None:
        _check_view(view, await asyncio.to_thread(_views, running.url, token))
    settings = options.load(os.environ)
    async with open_relay(settings, options.home, running.url, token, view) as hub:
        await _talk(hub, NAME, stop)


def _check_view(view: str | None, views: Iterable[str]) -> None:
    """Raises UnknownTarget, which names those that there are."""
    known = sorted(views)
    if view is not None and view not in known:
        there = f"there are: {', '.join(known)}" if known else "`agenthub view add` makes one"
        raise UnknownTarget(f"There is no view named {view[:64]!r}; {there}.")


def _views(url: str, token: str) -> list[str]:
    """The names of the running hub's views. Raises UpstreamUnavailable."""
    import http.client  # noqa: PLC0415 - 30 ms, for a client of one view alone

    line = http.client.HTTPConnection(url.partition("://")[2].rstrip("/"), timeout=VIEWS_S)
    try:
        line.request("GET", "/api/views", headers={"authorization": f"Bearer {token}"})
        answer = line.getresponse()
        body, problem = answer.read(), "" if answer.status == 200 else f"HTTP {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        body, problem = b"", str(error)
    finally:
        line.close()
    if problem:
        raise UpstreamUnavailable(f"The hub at {url} did not tell its views: {problem}.")
    return [view["name"] for view in json.loads(body)["views"]]


async def _other_hub(home: Path) -> Running | None:
    """The hub that took the home a moment ago, once it listens; None if there is none."""
    end = asyncio.get_running_loop().time() + OTHER_S
    while asyncio.get_running_loop().time() < end:
        if holder(home) is None:
            return None
        if (running := hub_file.find(home)) is not None:
            return running
        await asyncio.sleep(POLL_S)
    return None


async def _talk(hub: Hub, face: str | None, stop: Stop) -> None:
    """Until the client ends its input, or the process is told to stop."""
    tasks = Tasks()
    talking = tasks.start(StdioDoor(hub, face).run(), "stdio")
    told = tasks.start(stop.wait(), "stop")
    try:
        await asyncio.wait({talking, told}, return_when=asyncio.FIRST_COMPLETED)
        if talking.done():
            talking.result()
    finally:
        await tasks.close()
