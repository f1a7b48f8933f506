"""Waiting for servers that have just been started, for those few who must."""

import asyncio
from collections.abc import Iterable

from agenthub.domain.events import Event, ServerChanged
from agenthub.hub import Hub


async def settled(hub: Hub, names: Iterable[str], seconds: float) -> None:
    """Until each of these has shown its lists, or failed; at most so long.

    To be called before the loop has run since they were started, or it may miss what they said.
    """
    waited_for = set(names)
    over = asyncio.Event()

    def heard(event: Event) -> None:
        if isinstance(event, ServerChanged) and event.state in {"listed", "unreachable"}:
            waited_for.discard(event.endpoint)
            if not waited_for:
                over.set()

    hub.bus.sinks.append(heard)
    try:
        if waited_for:
            async with asyncio.timeout(seconds):
                await over.wait()
    except TimeoutError:
        pass
    finally:
        hub.bus.sinks.remove(heard)
