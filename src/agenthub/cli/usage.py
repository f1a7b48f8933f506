"""`usage`: what was spent, in the hub's time zone or another; `usage rebuild` proves the sums."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agenthub.cli.access import hub_at
from agenthub.cli.ending import Failed
from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import note

if TYPE_CHECKING:
    from datetime import datetime

DAY: Final = click.DateTime(["%Y-%m-%d"])
GROUPS: Final = ("model", "provider", "key", "team", "endpoint", "tool", "source", "session")


@click.group(invoke_without_command=True)
@click.option(
    "--period",
    type=click.Choice(["hour", "day", "week", "month"]),
    help="The present one (month).",
)
@click.option("--from", "since", type=DAY, metavar="DAY", help="The first day, as 2026-11-01.")
@click.option("--to", "until", type=DAY, metavar="DAY", help="The first day that is too late.")
@click.option("--by", type=click.Choice(GROUPS), help="Broken down by it, the dearest first.")
@click.option(
    "--each",
    type=click.Choice(["hour", "day", "week", "month"]),
    help="Broken down by time: each hour, day …",
)
@click.option("--tz", metavar="ZONE", help="As Asia/Seoul; without: `timezone` of the settings.")
@json_option
@home_option
@click.pass_context
def usage(  # noqa: PLR0913, PLR0917 - one for each option
    ctx: click.Context, home: Path,
    period: str | None, since: "datetime | None", until: "datetime | None",
    by: str | None, each: str | None, tz: str | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Show what language models and priced tools cost.

    --json: as GET /api/usage/summary gives it; with --by as GET /api/usage/by-….
    """
    if ctx.invoked_subcommand:
        sources = map(ctx.get_parameter_source, ctx.params)
        if click.core.ParameterSource.COMMANDLINE in sources:
            raise click.UsageError("expected options behind the command, as `usage rebuild --json`")
        return
    if by and each:
        raise click.UsageError("--by and --each: expected one of them")
    if (since is None) != (until is None) or (since and period):
        raise click.UsageError("expected --period, or --from and --to")
    asked = {"period": period, "tz": tz, "group_by": each}
    with hub_at(home) as hub:
        if since and until:
            # Days begin in the hub's time zone, and it says which zone there is.
            zone = hub.usage(None, {"period": "hour", "tz": tz})["timezone"]
            asked |= {"tz": zone, "from": _midnight(since, zone), "to": _midnight(until, zone)}
        found = hub.usage(by, asked)
    if as_json:
        show_json(found)
        return
    if by:
        rows = [_row(_name(one), one) for one in found["groups"]]
    elif each:
        rows = [_row(_time(one["starts_at"], each, found["timezone"]), one) for one in
                found["spans"] if one["calls"]]  # fmt: skip
    else:
        rows = []
    rows.append(_row("all", found["total"]))
    show_table(
        [
            by or each or period or ("range" if since else "month"),
            "cost",
            "calls",
            "input",
            "cached",
            "output",
        ],
        rows,
    )
    _notes(found)


@usage.command()
@json_option
@home_option
def rebuild(home: Path, *, as_json: bool) -> None:
    """Compute all sums anew from the ledger, and say whether any had differed.

    None should. --json: {"counters", "slots"}, how many of the budgets' counters and of the sums
    by quarters of an hour were mended. Exit code 1 if any was.
    """
    with hub_at(home) as hub:
        proof = hub.rebuild_usage()
    if as_json:
        show_json(proof)
    elif not any(proof.values()):
        print("All sums agree with the ledger.")
    if any(proof.values()):
        raise Failed(
            "{counters} counters of budgets and {slots} sums of usage differed from the ledger; "
            "they agree with it now".format(**proof)
        )


def _row(name: str, one: dict[str, Any]) -> list[str]:
    counts = (one["calls"], one["input_tokens"], one["cache_read_tokens"], one["output_tokens"])
    return [name, f"${one['cost_usd']}", *(f"{count:,}" for count in counts)]


def _name(group: dict[str, Any]) -> str:
    label = group.get("label")  # a hub of another version may say none
    return f"{label} ({group['name']})" if label else group["name"] or "-"


def _midnight(day: "datetime", zone: str) -> str:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only here

    return str(int(day.replace(tzinfo=ZoneInfo(zone)).timestamp()))


def _time(at_s: int, each: str, zone: str) -> str:
    from datetime import datetime  # noqa: PLC0415 - only here
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    at = datetime.fromtimestamp(at_s, ZoneInfo(zone))
    return at.strftime("%Y-%m-%d %H:%M" if each == "hour" else "%Y-%m-%d")


def _notes(found: dict[str, Any]) -> None:
    total = found["total"]
    note(f"Times are in {found['timezone']}.")
    if total["unpriced_calls"]:
        note(f"{total['unpriced_calls']} calls have no price and are not in the sum; see `prices`.")
    if total["estimated_calls"]:
        note(f"{total['estimated_calls']} calls are the hub's own estimate.")
