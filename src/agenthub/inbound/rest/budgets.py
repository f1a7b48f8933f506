"""`/api/usage/budget`, the plan's one budget, and `/api/usage/budgets`, all of them."""

import hashlib
import secrets
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Request, Response
from msgspec import Struct, structs

from agenthub.domain import money
from agenthub.domain.budget import DEFAULT, Budget
from agenthub.domain.caller import Scope
from agenthub.domain.errors import HubError, InvalidParams
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.money_view import (
    AlertList,
    BudgetList,
    BudgetView,
    MonthlyBudget,
    WantedBudget,
    alert_view,
    budget_of,
    budget_view,
    monthly_view,
)
from agenthub.inbound.rest.needs import RestHub
from agenthub.inbound.rest.request import (
    Before,
    Limit,
    TheHub,
    needs,
    read_body,
    whole_hub,
)

router = APIRouter(prefix="/api/usage", tags=["budgets"])
readers = [Depends(needs(Scope.READ)), Depends(whole_hub)]
admins = [Depends(needs(Scope.ADMIN)), Depends(whole_hub)]
Match = Annotated[str | None, Header(max_length=200)]


class WantedMonthly(Struct, frozen=True, forbid_unknown_fields=True):
    monthly_budget_usd: str


class WantedCredit(Struct, frozen=True, forbid_unknown_fields=True):
    amount_usd: str
    reason: str


class WantedPause(Struct, frozen=True, forbid_unknown_fields=True):
    reason: str
    seconds: int = 3600
    """Up to a day; 0: it blocks again at once."""


class Stale(HubError):
    """The budget is another by now than the one that If-Match names."""

    slug, code, status = "stale", -32602, 412


@router.get("/budget", dependencies=readers, **described(MonthlyBudget))
async def show_monthly_budget(hub: TheHub) -> Response:
    return await _monthly(hub)


@router.put("/budget", dependencies=admins, **described(MonthlyBudget, body=WantedMonthly))
async def set_monthly_budget(hub: TheHub, request: Request, if_match: Match = None) -> Response:
    """Changes the limit of the budget `default`; makes it, if it was deleted."""
    limit = money.parse((await read_body(request, WantedMonthly)).monthly_budget_usd)
    known = {budget.id: budget for budget in hub.budgets.all()}
    before = known.get(DEFAULT.id)
    _check_match(if_match, before)
    await hub.budgets.replace(structs.replace(before or DEFAULT, limit=limit), before)
    return await _monthly(hub)


@router.get("/budgets", dependencies=readers, **described(BudgetList))
async def list_budgets(hub: TheHub) -> Response:
    status = await hub.budgets.status(hub.budgets.all())
    return answer(BudgetList([budget_view(one) for one in status]))


@router.post(
    "/budgets", dependencies=admins, **described(BudgetView, body=WantedBudget, status=201)
)
async def add_budget(hub: TheHub, request: Request) -> Response:
    wanted = await read_body(request, WantedBudget)
    made = await hub.budgets.add(budget_of(wanted, wanted.id or secrets.token_hex(6)))
    return await _shown(hub, made, 201, location=f"/api/usage/budgets/{made.id}")


@router.get("/alerts", dependencies=readers, **described(AlertList))
async def list_alerts(hub: TheHub, before: Before = None, limit: Limit = 50) -> Response:
    """Which budgets reached which level, newest first."""
    found = await hub.alerts.all(before, limit + 1)
    page = [alert_view(one) for one in found[:limit]]
    return answer(AlertList(page, page[-1].number if len(found) > limit else None))


@router.get("/budgets/{name}", dependencies=readers, **described(BudgetView))
async def show_budget(hub: TheHub, name: str) -> Response:
    return await _shown(hub, hub.budgets.get(name))


@router.put("/budgets/{name}", dependencies=admins, **described(BudgetView, body=WantedBudget))
async def replace_budget(
    hub: TheHub, name: str, request: Request, if_match: Match = None
) -> Response:
    """Replace the whole record; what was spent stays, as long as the period does."""
    wanted = await read_body(request, WantedBudget)
    if wanted.id not in {"", name}:
        raise InvalidParams("id: a budget's id cannot be changed; add a new one")
    before = hub.budgets.get(name)
    _check_match(if_match, before)
    return await _shown(hub, await hub.budgets.replace(budget_of(wanted, name), before))


@router.delete("/budgets/{name}", dependencies=admins, **described(status=204))
async def remove_budget(hub: TheHub, name: str) -> Response:
    await hub.budgets.remove(name)
    return Response(status_code=204)


@router.post(
    "/budgets/{name}/suspend", dependencies=admins, **described(BudgetView, body=WantedPause)
)
async def suspend_budget(hub: TheHub, name: str, request: Request) -> Response:
    """Let it block nothing for a while; it goes on counting."""
    wanted = await read_body(request, WantedPause)
    return await _shown(hub, await hub.budgets.suspend(name, wanted.seconds, wanted.reason))


@router.post(
    "/budgets/{name}/credit", dependencies=admins, **described(BudgetView, body=WantedCredit)
)
async def credit_budget(hub: TheHub, name: str, request: Request) -> Response:
    """More room in the present window, and only there."""
    wanted = await read_body(request, WantedCredit)
    await hub.budgets.credit(name, money.parse(wanted.amount_usd), wanted.reason)
    return await _shown(hub, hub.budgets.get(name))


async def _shown(hub: RestHub, budget: Budget, status: int = 200, **headers: str) -> Response:
    (one,) = await hub.budgets.status([budget])
    return answer(budget_view(one), status, etag=_tag(budget), **headers)


async def _monthly(hub: RestHub) -> Response:
    budget = hub.budgets.get(DEFAULT.id)
    (one,) = await hub.budgets.status([budget])
    return answer(monthly_view(one), etag=_tag(budget))


def _tag(budget: Budget) -> str:
    return f'"{hashlib.sha256(msgspec.json.encode(budget)).hexdigest()[:16]}"'


def _check_match(if_match: str | None, before: Budget | None) -> None:
    if if_match is not None and (before is None or if_match not in {_tag(before), "*"}):
        raise Stale
