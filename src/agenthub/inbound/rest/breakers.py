"""`/api/gateway`: the circuit breakers, seen and set."""

# ruff: noqa: FAST003 - `TheServer` takes the name from the path.

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct, structs

from agenthub.domain.breaker_config import BreakerConfig
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.endpoint_check import check_breaker
from agenthub.domain.errors import InvalidParams
from agenthub.domain.span import SECOND, Nanoseconds
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.hearing import TOOL_CALL, hears_of
from agenthub.inbound.rest.needs import RestHub, RestServer
from agenthub.inbound.rest.request import (
    TheCaller,
    TheHub,
    TheServer,
    find,
    needs,
    read_body,
    read_object,
    typed,
)
from agenthub.inbound.rest.view import (
    BreakerHistory,
    BreakerList,
    BreakerView,
    breaker_view,
    with_history,
)

HISTORY = 50
TTL_MAX_S = 30 * 86_400

router = APIRouter(prefix="/api/gateway", tags=["gateway"])
readers = [Depends(needs(Scope.READ))]
admins = [Depends(needs(Scope.ADMIN))]


class Word(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator says of a breaker (R16)."""

    reason: str = ""
    ttl_s: int | None = None
    """Seconds until the word is over; null: until `reset`."""


@router.get("/circuit-breakers", dependencies=readers, **described(BreakerList))
async def list_breakers(hub: TheHub, caller: TheCaller) -> Response:
    servers = hub.catalog.servers(caller)
    return answer(BreakerList([breaker_view(hub, server) for server in servers]))


@router.get("/circuit-breaker/{name}", dependencies=readers, **described(BreakerHistory))
async def show_breaker(hub: TheHub, caller: TheCaller, server: TheServer) -> Response:
    """With its history, newest first, those of its tools among them."""
    history = [
        entry
        for entry in await hub.store.transitions(server.name, HISTORY)
        if not (tool := str(entry.get("tool") or ""))
        or hears_of(hub, caller, server.name, TOOL_CALL, tool)
    ]
    return answer(with_history(breaker_view(hub, server), history))


@router.put(
    "/circuit-breaker/{name}/config",
    dependencies=admins,
    **described(BreakerView, body=BreakerConfig),
)
async def configure_breaker(
    hub: TheHub, caller: TheCaller, server: TheServer, request: Request
) -> Response:
    """Takes effect at once, and is kept. A setting that is not named stays as it is."""
    body: dict[str, Any] = structs.asdict(server.endpoint.breaker) | await read_object(request)
    config = typed(body, BreakerConfig)
    check_breaker(config)
    await hub.catalog.set_breaker_config(server.name, config)
    return answer(breaker_view(hub, find(hub, caller, server.name)))


@router.post(
    "/circuit-breaker/{name}/open", dependencies=admins, **described(BreakerView, body=Word)
)
async def open_breaker(
    hub: TheHub, caller: TheCaller, server: TheServer, request: Request
) -> Response:
    """Let nothing pass, until the word is over or taken back by `reset`."""
    reason, ttl = _word(await read_body(request, Word), caller)
    server.lane.breaker.force_open(hub.clock.now(), reason, ttl)
    return _now(hub, server)


@router.post(
    "/circuit-breaker/{name}/close", dependencies=admins, **described(BreakerView, body=Word)
)
async def close_breaker(
    hub: TheHub, caller: TheCaller, server: TheServer, request: Request
) -> Response:
    """Let everything pass, whatever fails, until the word is over or taken back by `reset`."""
    reason, ttl = _word(await read_body(request, Word), caller)
    server.lane.breaker.force_close(hub.clock.now(), reason, ttl)
    return _now(hub, server)


@router.post("/circuit-breaker/{name}/reset", dependencies=admins, **described(BreakerView))
async def reset_breaker(hub: TheHub, server: TheServer, request: Request) -> Response:
    """Closed, and as new, whatever it was; the rules apply again."""
    await read_body(request, Word)
    server.lane.breaker.reset(hub.clock.now())
    return _now(hub, server)


def _now(hub: RestHub, server: RestServer) -> Response:
    return answer(breaker_view(hub, server))


def _word(word: Word, caller: Caller) -> tuple[str, Nanoseconds | None]:
    """Why, with who said it, and for how long."""
    if word.ttl_s is not None and not 1 <= word.ttl_s <= TTL_MAX_S:
        raise InvalidParams(f"ttl_s: expected 1 to {TTL_MAX_S:,} seconds, or null")
    said = f"{caller.id}: {word.reason}" if word.reason else caller.id
    return said, None if word.ttl_s is None else word.ttl_s * SECOND
