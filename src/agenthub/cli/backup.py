"""`backup`: a copy of the database, while the hub runs or not."""

import os
from pathlib import Path

import click

from agenthub.cli.options import home_option, json_option
from agenthub.cli.output import show_json
from agenthub.cli.terminal import note, progress

ELSEWHERE = "The ledger is in PostgreSQL, and not in this file: back it up there, as by pg_dump."


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@home_option
def backup(home: Path, file: Path, *, as_json: bool) -> None:
    """Copy the hub's database to FILE, while the hub runs or not.

    FILE must not be there yet, and is for its owner alone: it has the digests of keys in it, and
    what the hub keeps encrypted. How it is put back: docs/howto/backup.md.

    --json: {"file", "size_bytes", "has_ledger"}; without the ledger if that is in PostgreSQL.
    """
    from agenthub.outbound.backup import back_up  # noqa: PLC0415 - when it is done

    target = file.expanduser().absolute()
    with progress(f"Copying to {target}"):
        size = back_up(home / "agenthub.db", target)
    has_ledger = not _is_shared(home)
    if as_json:
        show_json({"file": str(target), "size_bytes": size, "has_ledger": has_ledger})
        return
    print(f"Copied the database to {target} ({size:,} bytes).")
    if not has_ledger:
        note(ELSEWHERE)


def _is_shared(home: Path) -> bool:
    """Whether the settings say that the ledger is elsewhere; wrong ones say nothing."""
    from agenthub.domain.errors import HubError  # noqa: PLC0415
    from agenthub.settings import Options  # noqa: PLC0415

    try:
        return bool(Options(home).load(os.environ).ledger.url)
    except HubError:
        return False
