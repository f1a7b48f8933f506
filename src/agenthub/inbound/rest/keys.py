"""`/api/keys`: the client keys. A secret is shown once, when it is made.

Who made, limited, rotated or revoked which key stands in the log.
"""

import logging

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct, structs

from agenthub.domain.caller import Caller, KeyTerms, Scope
from agenthub.domain.errors import InvalidParams
from agenthub.domain.span import SECOND
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.needs import RestHub
from agenthub.inbound.rest.request import TheCaller, TheHub, find, needs, read_body, whole_hub
from agenthub.inbound.rest.view import KeyList, KeyView, NewKey, key_view
from agenthub.keys import DEFAULT_SCOPES
from agenthub.ports import KeyRow

log = logging.getLogger(__name__)

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
    scopes: tuple[Scope, ...] = DEFAULT_SCOPES
    endpoints: tuple[str, ...] | None = None
    """The servers that exist for this key; null: all."""
    ttl_s: int | None = None
    """Seconds until it expires; null: never."""
    terms: KeyTerms = KeyTerms()
    """What it is offered of what these open."""


class WantedRotation(Struct, frozen=True, forbid_unknown_fields=True):
    grace_s: int = 0
    """Seconds that the secret that it has stays good beside the new one; at most 86,400."""


@router.get("", **described(KeyList))
async def list_keys(hub: TheHub) -> Response:
    return answer(KeyList([key_view(row) for row in hub.keys.list()]))


@router.post("", **described(NewKey, body=WantedKey, status=201))
async def create_key(hub: TheHub, caller: TheCaller, request: Request) -> Response:
    """Servers and views that it names have to be there."""
    wanted = await read_body(request, WantedKey)
    if not wanted.name.strip() or len(wanted.name) > NAME_MAX or not wanted.name.isprintable():
        raise InvalidParams(f"name: expected 1 to {NAME_MAX} printable characters")
    if not wanted.scopes:
        raise InvalidParams("scopes: expected at least one")
    if wanted.ttl_s is not None and not 1 <= wanted.ttl_s <= TTL_MAX_S:
        raise InvalidParams(f"ttl_s: expected 1 to {TTL_MAX_S:,} seconds, or null")
    expires = None if wanted.ttl_s is None else hub.clock.wall() // SECOND + wanted.ttl_s
    for name in wanted.endpoints or ():
        find(hub, caller, name)
    _check_views(hub, wanted.terms)
    row, secret = await hub.keys.create(
        wanted.name, wanted.scopes, wanted.endpoints, expires, wanted.terms
    )
    _note("A key was made", caller, row)
    return answer(NewKey(**structs.asdict(key_view(row)), key=secret), 201)


@router.put("/{key_id}/terms", **described(KeyView, body=KeyTerms))
async def set_key_terms(hub: TheHub, caller: TheCaller, key_id: str, request: Request) -> Response:
    """In the place of the terms that it had; takes effect at once, on open streams too."""
    terms = await read_body(request, KeyTerms)
    _check_views(hub, terms)
    row = await hub.keys.change(key_id, terms)
    _note("A key's terms were changed", caller, row)
    return answer(key_view(row))


@router.post("/{key_id}/rotate", **described(NewKey, body=WantedRotation))
async def rotate_key(hub: TheHub, caller: TheCaller, key_id: str, request: Request) -> Response:
    """A new secret for the same key; the one before ends at once, or after `grace_s`."""
    wanted = await read_body(request, WantedRotation)
    row, secret = await hub.keys.rotate(key_id, wanted.grace_s)
    _note("A key has a new secret", caller, row, grace_s=wanted.grace_s)
    return answer(NewKey(**structs.asdict(key_view(row)), key=secret))


@router.delete("/{key_id}", **described(status=204))
async def revoke_key(hub: TheHub, caller: TheCaller, key_id: str) -> Response:
    await hub.keys.revoke(key_id)
    log.info("A key was revoked", extra={"key": key_id, "by": caller.id})
    return Response(status_code=204)


def _note(words: str, caller: Caller, row: KeyRow, **facts: int) -> None:
    log.info(words, extra={"key": row.id, "key_name": row.name, "by": caller.id, **facts})


def _check_views(hub: RestHub, terms: KeyTerms) -> None:
    """A name with a slip in it is told now. Raises UnknownTarget."""
    for name in terms.views or ():
        hub.catalog.views.get(name)
