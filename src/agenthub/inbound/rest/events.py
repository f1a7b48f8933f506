"""`/api/events`: what happens in the hub, as it happens (server-sent events).

Each event has its number as `id`; a client that comes back with `Last-Event-ID` gets what it
missed, as far as it is known. A client that reads too slowly loses its oldest events and is told
how many, by an event `dropped`. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from agenthub.bus import Numbered, Subscription
from agenthub.domain.caller import Scope
from agenthub.domain.events import Event
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.hearing import heard
from agenthub.inbound.rest.request import TheCaller, TheHub, needs

HEARTBEAT_S = 15.0
"""Proxies cut a stream that is silent for a minute; browsers notice a dead one by this."""
RETRY_MS = 2_000
NUMBER_DIGITS = 15

router = APIRouter(prefix="/api/events", tags=["events"])


class Kind(StrEnum):
    """The events' names, as they stand in `domain.events`."""

    SERVER = "server"
    CALL = "call"
    BREAKER = "breaker"
    BUDGET = "budget"
    TRAFFIC = "traffic"
    CLOCK = "clock"


@router.get("", dependencies=[Depends(needs(Scope.READ))], **described())
async def follow_events(
    hub: TheHub,
    caller: TheCaller,
    event: Annotated[list[Kind] | None, Query(max_length=6)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """A stream of `id`, `event`, `data` (JSON); `?event=server&event=breaker` chooses."""
    after = number_of(last_event_id)
    kinds = frozenset(kind.value for kind in event) if event else None
    return EventStream(hub.bus.subscribe(after), partial(heard, hub, caller), kinds)


class EventStream(Response):
    """The stream of one subscription, which ends with it."""

    def __init__(
        self,
        subscription: Subscription,
        heard: Callable[[Event], Event | None],
        kinds: frozenset[str] | None,
    ) -> None:
        """`heard`: an event as its listener is told it, if at all."""
        super().__init__()
        self._subscription = subscription
        self._heard = heard
        self._kinds = kinds
        self._told = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        del scope
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write_while_there(send))
                watching = group.create_task(gone(receive))
                watching.add_done_callback(lambda _: writing.cancel())
                writing.add_done_callback(lambda _: watching.cancel())
        finally:
            self._subscription.close()

    async def _write_while_there(self, send: Send) -> None:
        """Some servers raise when the client has gone."""
        with contextlib.suppress(OSError):
            await self._write(send)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send_part(send, b"retry: %d\n\n" % RETRY_MS)
        while True:
            try:
                # Not `wait_for`: before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(HEARTBEAT_S):
                    events = await self._subscription.take()
            except TimeoutError:
                await send_part(send, b": alive\n\n")
                continue
            if not events:
                break
            if text := self._rendered(events):
                await send_part(send, text)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _rendered(self, events: list[Numbered]) -> bytes:
        parts: list[bytes] = []
        if self._subscription.dropped > self._told:
            lost = self._subscription.dropped - self._told
            self._told += lost
            parts.append(b'event: dropped\ndata: {"events":%d}\n\n' % lost)
        for number, one in events:
            event = self._heard(one) if self._is_wanted(one) else None
            if event is not None:
                # One line of JSON: a line break in a value is escaped in it.
                head = b"id: %d\n" % number if number else b""
                name = _name(event).encode()
                parts.append(b"%sevent: %s\ndata: %s\n\n" % (head, name, _encode(event)))
        return b"".join(parts)

    def _is_wanted(self, event: Event) -> bool:
        return self._kinds is None or _name(event) in self._kinds


def number_of(last: str | None) -> int | None:
    """The number that a client comes back with; what is none starts anew."""
    if last is None or not (last.isascii() and last.isdigit() and len(last) <= NUMBER_DIGITS):
        return None
    return int(last)


HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_encode = msgspec.json.Encoder().encode


def _name(event: Event) -> str:
    return str(type(event).__struct_config__.tag)


async def send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
