"""`/api/tools/pending`, `/api/tools/approve`: tools that are not what was approved.

Both are about definitions, not names: what is approved is what was looked at, by its digest.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Raw, Struct

from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import InvalidParams
from agenthub.domain.target import join, owner
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.needs import RestHub
from agenthub.inbound.rest.request import TheCaller, TheHub, find, needs, read_body
from agenthub.offer import PendingTool
from agenthub.wire.definition import diff
from agenthub.wire.suspicion import suspicions

router = APIRouter(prefix="/api/tools", tags=["tools"])
readers = [Depends(needs(Scope.READ))]
admins = [Depends(needs(Scope.ADMIN))]


class PendingView(Struct, frozen=True):
    endpoint: str
    """The server; `name.fallback` is the one behind its `fallback_url`."""
    name: str
    standing: str
    """`changed` since it was approved, or `new` since the server was."""
    withheld: bool
    """Whether it is neither offered nor called until it is approved."""
    digest: str
    """SHA-256 of the definition, hexadecimal: names what is approved."""
    suspicions: Sequence[str]
    """What is odd in its texts, as in `/api/tools`."""
    diff: str
    """From the approved definition to that of now; hidden characters are written as escapes."""
    approved: Raw
    """The definition that was approved; null if there was none, or it was not kept."""
    definition: Raw
    """That of now. Data from the server: to be shown, not followed."""


class PendingList(Struct, frozen=True):
    pending: list[PendingView]


class Approval(Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: str
    tools: dict[str, str]
    """Each tool, and the digest of the definition that was looked at."""


@router.get("/pending", dependencies=readers, **described(PendingList))
async def list_pending(hub: TheHub, caller: TheCaller, endpoint: str | None = None) -> Response:
    """Tools whose definition nobody approved, each with what is other than before."""
    if endpoint is not None:
        find(hub, caller, owner(endpoint))
    return answer(await _pending(hub, caller, endpoint))


@router.post("/approve", dependencies=admins, **described(PendingList, body=Approval))
async def approve_tools(hub: TheHub, caller: TheCaller, request: Request) -> Response:
    """Approve definitions that were looked at; answers with what is left of the server's."""
    wish = await read_body(request, Approval)
    find(hub, caller, owner(wish.endpoint))
    await hub.catalog.approve(wish.endpoint, _digests(wish.tools))
    return answer(await _pending(hub, caller, wish.endpoint))


def _digests(tools: Mapping[str, str]) -> Mapping[str, bytes]:
    if not tools:
        raise InvalidParams("tools: expected at least one")
    try:
        return {name: bytes.fromhex(digest) for name, digest in tools.items()}
    except ValueError:
        raise InvalidParams("tools: expected digests, as `/api/tools/pending` has them") from None


async def _pending(hub: RestHub, caller: Caller, endpoint: str | None) -> PendingList:
    """Of one server with its fallback, or of all; worked out beside the calls."""
    name = None if endpoint is None else owner(endpoint)
    found = [
        (server.name, tool)
        for server in hub.catalog.all_servers()
        if caller.sees(owner(server.name)) and name in {None, owner(server.name)}
        for tool in server.pending_tools()
        if caller.admits(
            join(owner(server.name), tool.name), reads=server.changes_nothing(tool.name)
        )
    ]
    views = await asyncio.to_thread(lambda: [_view(server, tool) for server, tool in found])
    return PendingList(sorted(views, key=lambda view: (view.endpoint, view.name)))


def _view(server: str, tool: PendingTool) -> PendingView:
    approved = tool.approved.definition if tool.approved else b""
    return PendingView(
        server,
        tool.name,
        tool.standing.value,
        tool.withheld,
        tool.now.digest.hex(),
        suspicions(msgspec.json.decode(tool.now.definition)),
        diff(approved, tool.now.definition),
        Raw(approved or b"null"),
        Raw(tool.now.definition),
    )
