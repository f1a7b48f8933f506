"""The hub as a whole: what it counts, and how its servers are."""

from fastapi import APIRouter, Depends, Response

from agenthub.domain.caller import Scope
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.request import TheCaller, TheHub, needs, whole_hub
from agenthub.inbound.rest.view import Check, check_line
from agenthub.metrics import CONTENT_TYPE

router = APIRouter(tags=["hub"], dependencies=[Depends(needs(Scope.READ))])


@router.get("/api/gateway/metrics", **described(), dependencies=[Depends(whole_hub)])
async def show_metrics(hub: TheHub) -> Response:
    return answer(hub.metrics.snapshot())


@router.get("/api/check", **described(Check))
async def check(hub: TheHub, caller: TheCaller) -> Response:
    """What each server is and how it is: what `agenthub check` prints."""
    report = hub.health.report()
    servers = hub.catalog.servers(caller)
    in_full = caller.may(Scope.ADMIN)
    reasons = () if caller.is_limited else report.reasons(in_full=in_full)
    lines = [check_line(hub, server, report, in_full=in_full) for server in servers]
    return answer(Check(report.status, reasons, lines))


@router.get("/metrics", **described(), dependencies=[Depends(whole_hub)])
async def prometheus(hub: TheHub) -> Response:
    return Response(hub.metrics.render(), headers={"content-type": CONTENT_TYPE.decode()})
