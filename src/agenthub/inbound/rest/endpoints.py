"""`/api/endpoints`: the servers behind the hub."""

# ruff: noqa: FAST003 - `TheServer` takes the name from the path.

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from agenthub.admission import SignInState, SignOut
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_endpoint
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.errors import Forbidden, InvalidParams
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.mask import unmask
from agenthub.inbound.rest.request import (
    TheCaller,
    TheHub,
    TheServer,
    needs,
    read_body,
    read_object,
    typed,
)
from agenthub.inbound.rest.view import EndpointList, EndpointView, endpoint_view

TEST_SECONDS_MAX = 30

router = APIRouter(prefix="/api/endpoints", tags=["endpoints"])
readers = [Depends(needs(Scope.READ))]
admins = [Depends(needs(Scope.ADMIN))]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body that may say nothing: what is tested is what was saved (A27)."""


class Finding(msgspec.Struct, frozen=True):
    """What a test of a server found; which members there are depends on what went wrong."""

    ok: bool


@router.get("", dependencies=readers, **described(EndpointList))
async def list_endpoints(hub: TheHub, caller: TheCaller) -> Response:
    report = hub.health.report()
    in_full = caller.may(Scope.ADMIN)
    servers = hub.catalog.servers(caller)
    shown = [endpoint_view(hub, server, report, in_full=in_full) for server in servers]
    return answer(EndpointList(shown))


@router.post("", dependencies=admins, **described(EndpointView, body=Endpoint, status=201))
async def add_endpoint(hub: TheHub, caller: TheCaller, request: Request) -> Response:
    endpoint = completed(unmask(await read_body(request, Endpoint), None))
    check_endpoint(endpoint)
    _within(caller, endpoint)
    server = await hub.catalog.add(endpoint)
    shown = endpoint_view(hub, server, hub.health.report())
    return answer(shown, 201, location=f"/api/endpoints/{server.name}")


@router.get("/{name}", dependencies=readers, **described(EndpointView))
async def show_endpoint(hub: TheHub, caller: TheCaller, server: TheServer) -> Response:
    in_full = caller.may(Scope.ADMIN)
    return answer(endpoint_view(hub, server, hub.health.report(), in_full=in_full))


@router.put("/{name}", dependencies=admins, **described(EndpointView, body=Endpoint))
async def replace_endpoint(
    hub: TheHub, caller: TheCaller, server: TheServer, request: Request
) -> Response:
    """Replace the whole record; a secret that comes back as `••••` stays what it was."""
    body = await read_object(request)
    body.setdefault("name", server.name)
    endpoint = completed(unmask(typed(body, Endpoint), server.endpoint))
    check_endpoint(endpoint)
    _within(caller, endpoint)
    server = await hub.catalog.replace(server.name, endpoint)
    return answer(endpoint_view(hub, server, hub.health.report()))


@router.delete("/{name}", dependencies=admins, **described(status=204))
async def remove_endpoint(hub: TheHub, server: TheServer) -> Response:
    await hub.catalog.remove(server.name)
    return Response(status_code=204)


@router.post("/{name}/test", dependencies=admins, **described(Finding))
async def try_endpoint(
    hub: TheHub,
    server: TheServer,
    request: Request,
    seconds: Annotated[int, Query(ge=1, le=TEST_SECONDS_MAX)] = 5,
) -> Response:
    """Connect and list, whatever the breaker says; takes at most so many seconds."""
    await read_body(request, Nothing)
    return answer(await hub.catalog.test(server.name, seconds))


class SignIn(msgspec.Struct, frozen=True):
    """Where a person lets the hub in to a server."""

    url: str


@router.post("/{name}/login", dependencies=admins, **described(SignIn))
async def begin_sign_in(hub: TheHub, server: TheServer, request: Request) -> Response:
    """Begin to sign in to a server behind OAuth; the address is good for ten minutes, once."""
    await read_body(request, Nothing)
    public = hub.settings.server.public_url.rstrip("/")
    host = request.headers.get("host", "")
    return answer(SignIn(await hub.sign_ins.begin(server.name, public or f"http://{host}")))


@router.get("/{name}/login", dependencies=admins, **described(SignInState))
async def show_sign_in(hub: TheHub, server: TheServer) -> Response:
    """Whether the hub has a token for a server behind OAuth, until when, and why it has none."""
    state = hub.sign_ins.state(server.name)
    if state is None:
        raise InvalidParams(f"{server.name} has no `oauth` in its record, or is switched off")
    return answer(state)


@router.delete("/{name}/login", dependencies=admins, **described(SignOut))
async def end_sign_in(hub: TheHub, server: TheServer) -> Response:
    """Sign out of a server: its tokens are removed, and revoked where that is offered."""
    return answer(await hub.sign_ins.end(server.name))


def _within(caller: Caller, endpoint: Endpoint) -> None:
    """A limited key stays within its servers, also by way of their fallbacks."""
    for name in (endpoint.name, *endpoint.fallbacks):
        if not caller.sees(name):
            raise Forbidden("The key is limited to other servers", server=name)
