"""`/api/keys`: the client keys. A secret is shown once, when it is made."""

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct, structs

from agenthub.domain.caller import Scope
from agenthub.domain.errors import InvalidParams
from agenthub.domain.span import SECOND
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.request import TheHub, needs, read_body, whole_hub
from agenthub.inbound.rest.view import KeyList, NewKey, key_view

NAME_MAX = 100
TTL_MAX_S = 10 * 366 * 86_400

router = APIRouter(
    prefix="/api/keys",
    tags=["keys"],
    dependencies=[Depends(needs(Scope.ADMIN)), Depends(whole_hub)],
)


class WantedKey(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    """For people; from 1 to 100 characters."""
    scopes: tuple[Scope, ...] = (Scope.TOOLS, Scope.READ)
    endpoints: tuple[str, ...] | None = None
    """The servers that exist for this key; null: all."""
    ttl_s: int | None = None
    """Seconds until it expires; null: never."""


@router.get("", **described(KeyList))
async def list_keys(hub: TheHub) -> Response:
    return answer(KeyList([key_view(row) for row in hub.keys.list()]))


@router.post("", **described(NewKey, body=WantedKey, status=201))
async def create_key(hub: TheHub, request: Request) -> Response:
    wanted = await read_body(request, WantedKey)
    if not 1 <= len(wanted.name) <= NAME_MAX or not wanted.name.isprintable():
        raise InvalidParams(f"name: expected 1 to {NAME_MAX} printable characters")
    if not wanted.scopes:
        raise InvalidParams("scopes: expected at least one")
    if wanted.ttl_s is not None and not 1 <= wanted.ttl_s <= TTL_MAX_S:
        raise InvalidParams(f"ttl_s: expected 1 to {TTL_MAX_S:,} seconds, or null")
    expires = None if wanted.ttl_s is None else hub.clock.wall() // SECOND + wanted.ttl_s
    row, secret = await hub.keys.create(wanted.name, wanted.scopes, wanted.endpoints, expires)
    return answer(NewKey(**structs.asdict(key_view(row)), key=secret), 201)


@router.delete("/{key_id}", **described(status=204))
async def revoke_key(hub: TheHub, key_id: str) -> Response:
    await hub.keys.revoke(key_id)
    return Response(status_code=204)
