"""`/api/usage`: what was spent, by when and by whom; every total comes from one function.

Ranges are half-open and begin and end where days do in a time zone, so that the days of a month are
the month in every zone. A key that is limited, or that may only read, sees what it spent itself.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct, structs

from agenthub.domain import money
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.errors import InvalidParams, UnknownTarget
from agenthub.domain.period import Period
from agenthub.domain.span import SECOND
from agenthub.inbound.rest.answer import answer
from agenthub.inbound.rest.calls import Text
from agenthub.inbound.rest.describe import described
from agenthub.inbound.rest.money_view import (
    AmountsView,
    Breakdown,
    ChargeList,
    ChargeView,
    EntryList,
    NamedView,
    SpanView,
    Summary,
    amounts_view,
    charge_view,
    entry_view,
    summed,
)
from agenthub.inbound.rest.needs import RestHub
from agenthub.inbound.rest.request import (
    Before,
    Limit,
    TheCaller,
    TheHub,
    needs,
    read_body,
    whole_hub,
)
from agenthub.ledger import GROUPS, Adjustment, Proof, Total, Which

router = APIRouter(prefix="/api/usage", tags=["usage"])
readers = [Depends(needs(Scope.READ))]
admins = [Depends(needs(Scope.ADMIN)), Depends(whole_hub)]

PERIODS: Final = ("hour", "day", "week", "month")
SPANS_MAX: Final = 1_500
"""In one answer: the hours of two months, or four years of days."""
QUARTER: Final = 900
EXPORT_PAGE: Final = 500
COLUMNS: Final = tuple(name for name in ChargeView.__struct_fields__ if name != "attempts")
Instant = Annotated[int | None, Query(ge=0, le=253_000_000_000)]


class Range(Struct, frozen=True):
    """Of which calls, and in which time zone days are counted."""

    which: Which
    timezone: str


class Evidence(Struct, frozen=True, forbid_unknown_fields=True):
    """What a call really cost, by an invoice."""

    cost_usd: str
    reason: str


def range_of(  # noqa: PLR0913, PLR0917 - one parameter for each filter
    request: Request,
    caller: TheCaller,
    hub: TheHub,
    period: Annotated[str | None, Query(max_length=10)] = None,
    since: Annotated[int | None, Query(alias="from", ge=0, le=253_000_000_000)] = None,
    until: Annotated[int | None, Query(alias="to", ge=0, le=253_000_000_000)] = None,
    tz: Annotated[str | None, Query(max_length=64)] = None,
    key: Text = None,
    team: Text = None,
    provider: Text = None,
    model: Text = None,
    endpoint: Text = None,
    tool: Text = None,
    source: Text = None,
) -> Range:
    """`period`: the present hour, day, week or month; or `from` and `to`, seconds since 1970."""
    del request
    zone = tz or hub.budgets.timezone
    now_s = hub.clock.wall() // SECOND
    if period is not None and (since is not None or until is not None):
        raise InvalidParams("period: expected it, or `from` and `to`, and not both")
    if since is None and until is None:
        since, until = _present(period or "month", zone, now_s)
    elif since is None or until is None or not since < until:
        raise InvalidParams("from: expected two instants, `from` before `to`")
    if since % QUARTER or until % QUARTER:
        raise InvalidParams("from: expected instants on a quarter of an hour")
    Period("day", 1, zone).check()
    which = Which(since, until, key, team, provider, model, endpoint, tool, source)
    return Range(_own(which, caller), zone)


TheRange = Annotated[Range, Depends(range_of)]


@router.get("/summary", dependencies=readers, **described(Summary))
async def usage_summary(
    hub: TheHub,
    asked: TheRange,
    group_by: Annotated[str, Query(max_length=10)] = "day",
) -> Response:
    which = asked.which
    spans = list(_spans(which.since_s, which.until_s, group_by, asked.timezone))
    found = await hub.usage.totals(which, "", spans)
    by_start = {one.starts_at: one.amounts for one in found}
    views = [
        SpanView(**amounts_view(by_start.get(start, summed([]))), starts_at=start, ends_at=end)
        for start, end in spans
    ]
    total = AmountsView(**amounts_view(summed([one.amounts for one in found])))
    return answer(Summary(which.since_s, which.until_s, asked.timezone, total, views))


@router.get("/by-{group}", dependencies=readers, **described(Breakdown))
async def usage_by(hub: TheHub, asked: TheRange, group: str) -> Response:
    """`group`: key, team, provider, model, endpoint, tool, source or session."""
    if group not in GROUPS:
        raise UnknownTarget(f"by-{group[:32]}: expected one of {', '.join(GROUPS)}")
    which = asked.which
    found = await hub.usage.totals(which, group, [(which.since_s, which.until_s)])
    ordered = sorted(found, key=_dearest)
    labels = {row.id: row.name for row in hub.keys.list()} if group == "key" else {}
    return answer(
        Breakdown(
            which.since_s, which.until_s, asked.timezone, group,
            AmountsView(**amounts_view(summed([one.amounts for one in found]))),
            [
                NamedView(
                    **amounts_view(one.amounts), name=one.name, label=labels.get(one.name, "")
                )
                for one in ordered
            ],
        )
    )  # fmt: skip


@router.get("/calls", dependencies=readers, **described(ChargeList))
async def usage_calls(
    hub: TheHub,
    asked: TheRange,
    session: Text = None,
    before: Before = None,
    limit: Limit = 50,
    format: Annotated[str, Query(max_length=10)] = "json",  # noqa: A002 - a query parameter
) -> Response:
    """`format`: `json`, a page; `csv` or `jsonl`, all of the range, as it is read."""
    which = structs.replace(asked.which, session=session)
    if format == "json":
        page = await hub.usage.calls(which, limit=limit, before=before)
        return answer(ChargeList([charge_view(row) for row in page.rows], page.next_before))
    if format not in EXPORTS:
        raise InvalidParams("format: expected json, csv or jsonl")
    kind, write = EXPORTS[format]
    return StreamingResponse(
        write(_all(hub, which)), media_type=kind, headers={"cache-control": "no-store"}
    )


@router.get("/calls/{name}", dependencies=readers, **described(ChargeView))
async def usage_call(hub: TheHub, caller: TheCaller, name: str) -> Response:
    row = await hub.usage.charge(name)
    if row is None or (_is_own_only(caller) and row.facts.key != caller.id):
        raise UnknownTarget(f"There is no call {name[:64]!r} in the ledger")
    return answer(charge_view(row))


@router.get("/reconcile", dependencies=admins, **described(ChargeList))
async def unsettled_calls(hub: TheHub, before: Before = None, limit: Limit = 50) -> Response:
    """Calls whose cost is an estimate or unknown, to be compared with the provider's invoice."""
    page = await hub.usage.unsettled(limit=limit, before=before)
    return answer(ChargeList([charge_view(row) for row in page.rows], page.next_before))


@router.post("/reconcile/{name}", dependencies=admins, **described(ChargeView, body=Evidence))
async def reconcile_call(hub: TheHub, caller: TheCaller, name: str, request: Request) -> Response:
    """Book what it really cost; the difference becomes an entry, and nothing is overwritten."""
    said = await read_body(request, Evidence)
    if not said.reason.strip():
        raise InvalidParams("reason: expected why")
    now_s = hub.clock.wall() // SECOND
    reason = f"{caller.id}: {said.reason}"
    made = Adjustment(hub.ids(), name, money.parse(said.cost_usd), reason, now_s)
    if not await hub.budgets.adjust(made):
        raise UnknownTarget(f"There is no call {name[:64]!r} that is over")
    row = await hub.usage.charge(name)
    assert row is not None, "it was adjusted"
    return answer(charge_view(row))


@router.get("/entries", dependencies=admins, **described(EntryList))
async def ledger_entries(hub: TheHub, before: Before = None, limit: Limit = 50) -> Response:
    """What was changed after the fact: late evidence, adjustments and credits, newest first."""
    found = await hub.usage.entries(limit=limit, before=before)
    return answer(EntryList([entry_view(one) for one in found]))


@router.post("/rebuild", dependencies=admins, **described(Proof))
async def rebuild_usage(hub: TheHub) -> Response:
    """Compute all sums anew from the ledger; says how many had differed, which should be none."""
    return answer(await hub.usage.rebuild())


# ---------------------------------------------------------------- ranges


def _present(period: str, zone: str, now_s: int) -> tuple[int, int]:
    if period not in PERIODS:
        raise InvalidParams(f"period: expected one of {', '.join(PERIODS)}")
    if period == "hour":
        return now_s - now_s % 3600, now_s - now_s % 3600 + 3600
    window = Period(period, 1, zone).window(now_s)
    return window.starts_at, window.ends_at


def _spans(since: int, until: int, group_by: str, zone: str) -> Iterator[tuple[int, int]]:
    """The hours, days, weeks or months of a range; the first and the last may be cut."""
    if group_by not in PERIODS:
        raise InvalidParams(f"group_by: expected one of {', '.join(PERIODS)}")
    if group_by == "hour":
        windows: Iterator[tuple[int, int]] = (
            (start, start + 3600) for start in range(since - since % 3600, until, 3600)
        )
    else:
        windows = Period(group_by, 1, zone).windows(since, until)
    for count, (start, end) in enumerate(windows):
        if count >= SPANS_MAX:
            raise InvalidParams(f"group_by: more than {SPANS_MAX} spans; take longer ones")
        yield max(start, since), min(end, until)


def _is_own_only(caller: Caller) -> bool:
    return caller.is_limited and not caller.may(Scope.ADMIN)


def _own(which: Which, caller: Caller) -> Which:
    """A limited key sees what it spent itself."""
    return structs.replace(which, key=caller.id) if _is_own_only(caller) else which


def _dearest(one: Total) -> tuple[int, int, str]:
    return -one.amounts.cost, -one.amounts.calls, one.name


# ---------------------------------------------------------------- exports


async def _all(hub: RestHub, which: Which) -> AsyncIterator[Sequence[ChargeView]]:
    """All calls of the range, page by page, newest first."""
    before: int | None = None
    while True:
        page = await hub.usage.calls(which, limit=EXPORT_PAGE, before=before)
        yield [charge_view(row) for row in page.rows]
        if page.next_before is None:
            return
        before = page.next_before


async def _csv(pages: AsyncIterator[Sequence[ChargeView]]) -> AsyncIterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    async for page in pages:
        for row in page:
            writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
        yield text.getvalue()
        text.seek(0)
        text.truncate()


async def _jsonl(pages: AsyncIterator[Sequence[ChargeView]]) -> AsyncIterator[bytes]:
    async for page in pages:
        yield b"".join(msgspec.json.encode(row) + b"\n" for row in page)


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is a text."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return "'" + value
    return value


EXPORTS: Final[dict[str, Any]] = {
    "csv": ("text/csv; charset=utf-8", _csv),
    "jsonl": ("application/x-ndjson", _jsonl),
}
