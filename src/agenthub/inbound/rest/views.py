"""`/api/views`: virtual servers, made of chosen tools of several servers."""

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct

from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import UnknownTarget
from agenthub.domain.view import View
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.hearing import seen
from agenthub.inbound.rest.needs import RestHub
from agenthub.inbound.rest.request import (
    TheCaller,
    TheHub,
    needs,
    read_body,
    read_object,
    typed,
    whole_hub,
)

router = APIRouter(prefix="/api/views", tags=["views"])
readers = [Depends(needs(Scope.READ))]
admins = [Depends(needs(Scope.ADMIN)), Depends(whole_hub)]


class ViewList(Struct, frozen=True):
    views: list[View]


@router.get("", dependencies=readers, **described(ViewList))
async def list_views(hub: TheHub, caller: TheCaller) -> Response:
    known = sorted(hub.catalog.views.all.items())
    views = [seen(hub, caller, view) for name, view in known if caller.sees_view(name)]
    return answer(ViewList(views))


@router.post("", dependencies=admins, **described(View, body=View, status=201))
async def add_view(hub: TheHub, request: Request) -> Response:
    view = await read_body(request, View)
    await hub.catalog.views.add(view)
    return answer(view, 201, location=f"/api/views/{view.name}")


@router.get("/{name}", dependencies=readers, **described(View))
async def show_view(hub: TheHub, caller: TheCaller, name: str) -> Response:
    return answer(seen(hub, caller, _find(hub, caller, name)))


@router.put("/{name}", dependencies=admins, **described(View, body=View))
async def replace_view(hub: TheHub, name: str, request: Request) -> Response:
    """Replace the whole record; clients are told that their lists have changed."""
    view = typed(await read_object(request) | {"name": name}, View)
    await hub.catalog.views.replace(view)
    return answer(view)


@router.delete("/{name}", dependencies=admins, **described(status=204))
async def remove_view(hub: TheHub, name: str) -> Response:
    await hub.catalog.views.remove(name)
    return Response(status_code=204)


def _find(hub: RestHub, caller: Caller, name: str) -> View:
    if not caller.sees_view(name):
        raise UnknownTarget(f"There is no view named {name[:64]!r}")
    return hub.catalog.views.get(name)
