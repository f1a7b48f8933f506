"""`/api/calls`: the call log, newest first, by pages."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from agenthub.domain.caller import Scope
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.hearing import hears_of
from agenthub.inbound.rest.request import Before, Limit, TheCaller, TheHub, needs
from agenthub.inbound.rest.view import CallList, call_view
from agenthub.ports import CallFilter

router = APIRouter(prefix="/api/calls", tags=["calls"])

Text = Annotated[str | None, Query(max_length=200)]


@router.get("", dependencies=[Depends(needs(Scope.READ))], **described(CallList))
async def list_calls(  # noqa: PLR0913, PLR0917 - one parameter for each filter
    hub: TheHub,
    caller: TheCaller,
    before: Before = None,
    limit: Limit = 50,
    endpoint: Text = None,
    outcome: Text = None,
    caller_id: Annotated[str | None, Query(alias="caller", max_length=200)] = None,
) -> Response:
    """A limited key sees its own calls and those of what it may touch; a page may be short then."""
    page = await hub.store.calls(CallFilter(before, limit, endpoint, outcome, caller_id))
    seen = [
        call_view(number, row, caller)
        for number, row in page.rows
        if caller.sees(row.endpoint)
        and (row.caller == caller.id or hears_of(hub, caller, row.endpoint, row.method, row.name))
    ]
    return answer(CallList(seen, page.next_before))
