"""`/api/ingest`: usage of calls that did not come through the hub."""

from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct

from agenthub.domain.caller import Scope
from agenthub.domain.errors import InvalidParams
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.request import TheCaller, TheHub, needs
from agenthub.wire import strict_json
from agenthub.wire.ingest.litellm import read_payloads

router = APIRouter(prefix="/api/ingest", tags=["usage"])
PAYLOADS_MAX = 1_000


class Taken(Struct, frozen=True):
    payloads: int
    """That came."""
    booked: int
    """Of these, calls that were not known yet."""


@router.post("/litellm", dependencies=[Depends(needs(Scope.INGEST))], **described(Taken))
async def take_litellm(hub: TheHub, caller: TheCaller, request: Request) -> Response:
    """An array of LiteLLM's standard logging payloads, as its callback `generic_api` posts it.

    What they say of messages and answers is not kept. Sent again, a payload counts once; one of a
    call that LiteLLM sent to this hub does not count.
    """
    payloads: object = strict_json.parse(await request.body() or b"null")
    if not isinstance(payloads, list) or not 0 < len(payloads) <= PAYLOADS_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidParams(f"The body is not a JSON array of 1 to {PAYLOADS_MAX} payloads")
    own = {request.headers["host"].lower()}
    booked = await hub.intake.take(caller, read_payloads(payloads, own), "litellm")
    return answer(Taken(len(payloads), booked))  # pyright: ignore[reportUnknownArgumentType]
