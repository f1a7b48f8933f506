"""`import`: the servers of a client's configuration file, into the hub. The file stays as it is."""

import os
from pathlib import Path
from typing import Any

import click

from agenthub.cli.access import HubAccess, HubRefused, hub_at
from agenthub.cli.address import configured, is_own
from agenthub.cli.client_file import ITSELF, Found, Surroundings, servers_of
from agenthub.cli.ending import FAILED, Failed
from agenthub.cli.finding import describe, mark
from agenthub.cli.options import json_option, new_home_option
from agenthub.cli.output import show_json
from agenthub.cli.table import show_table
from agenthub.cli.terminal import note, paint, progress

SIZE_MAX = 32 * 1024 * 1024
"""Claude Code keeps its whole history in the file that names its servers."""
LOOK_S = 5

Line = dict[str, Any]


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would be added.")
@click.option("--replace", is_flag=True, help="Put servers in the place of those with their name.")
@json_option
@new_home_option
def import_(home: Path, file: Path, *, dry_run: bool, replace: bool, as_json: bool) -> int:
    """Add the servers of a client's file: JSON of Claude, Cursor, VS Code and others.

    Each server is added whole or not at all. What cannot be taken over stays where it is, with the
    reason. Exit code 1 if a server that was read could not be added.

    --json: {"servers": [{"name", "called", "status", "why", "notes", "record", "test"}]}; status is
    added, replaced, exists, refused, unreadable; or, with --dry-run, would-add, would-replace.
    """
    found = servers_of(_document(file), Surroundings(os.environ, str(Path.home())), str(file))
    with hub_at(home, connect=[] if dry_run else [one.name for one in found]) as hub:
        taken = {view["name"] for view in hub.endpoints()}
        lines = _plan(found, taken, hub.url or configured(home), replace=replace)
        if not as_json:
            _show_plan(lines)
        if not dry_run:
            _carry_out(hub, lines)
            _look(hub, lines)
    if as_json:
        show_json({"servers": [{**line, "record": _shown(line)} for line in lines]})
    elif not dry_run:
        _show_outcome(lines)
    return FAILED if any(line["status"] == "refused" for line in lines) else 0


def _document(file: Path) -> Any:
    from agenthub.settings.regular_file import read_regular  # noqa: PLC0415

    try:
        data, _ = read_regular(file.expanduser(), SIZE_MAX, follow=True)
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}.") from None
    if len(data) > SIZE_MAX:
        raise Failed(f"{file}: expected at most {SIZE_MAX} bytes.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Failed(f"{file}:{line}: expected UTF-8.") from None
    if file.suffix == ".toml":
        import tomllib  # noqa: PLC0415 - one client of many

        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Failed(f"{file}: not TOML: {error}.") from None
    from agenthub.cli.jsonc import loads  # noqa: PLC0415

    return loads(text, str(file))


def _plan(found: list[Found], existing: set[str], own: str, *, replace: bool) -> list[Line]:
    """What would become of each server."""
    lines: list[Line] = []
    for one in found:
        status, why = "would-add", one.why_not or _misfit(one.record, own)
        if why:
            status = "unreadable"
        elif one.name in existing:
            status = "would-replace" if replace else "exists"
            why = "" if replace else "a server of this name is there; --replace puts this one there"
        lines.append(
            {
                "name": one.name,
                "called": one.called,
                "status": status,
                "why": why,
                "notes": list(one.notes),
                "record": one.record,
            }
        )
    return lines


def _misfit(record: Line, own: str) -> str:
    """Why the hub would refuse the record; empty if it would not."""
    import msgspec  # noqa: PLC0415 - imported late, as all that one command alone needs

    from agenthub.domain.endpoint import Endpoint  # noqa: PLC0415
    from agenthub.domain.endpoint_check import check_endpoint  # noqa: PLC0415
    from agenthub.domain.errors import BadSetting  # noqa: PLC0415

    if is_own(record.get("url") or "", own):
        return ITSELF
    try:
        check_endpoint(msgspec.convert(record, Endpoint))
    except (BadSetting, msgspec.ValidationError) as error:
        return str(error)
    return ""


def _carry_out(hub: HubAccess, lines: list[Line]) -> None:
    for line in lines:
        try:
            if line["status"] == "would-add":
                hub.add_endpoint(line["record"])
                line["status"] = "added"
            elif line["status"] == "would-replace":
                hub.replace_endpoint(line["record"])
                line["status"] = "replaced"
        except HubRefused as refused:
            line |= {"status": "refused", "why": str(refused)}


def _look(hub: HubAccess, lines: list[Line]) -> None:
    fresh = [
        line
        for line in lines
        if line["status"] in {"added", "replaced"} and line["record"].get("enabled", True)
    ]
    if not fresh:
        return
    with progress(f"Looking at {len(fresh)} servers"):
        found = hub.test([line["name"] for line in fresh], LOOK_S)
    for line in fresh:
        line["test"] = found[line["name"]]


def _shown(line: Line) -> Line:
    """The record without its secrets; empty if it cannot be taken over."""
    import msgspec  # noqa: PLC0415

    from agenthub.domain.endpoint import Endpoint  # noqa: PLC0415
    from agenthub.settings.redaction import redact  # noqa: PLC0415

    if line["status"] == "unreadable":
        return {}
    return msgspec.to_builtins(redact(msgspec.convert(line["record"], Endpoint)))


def _place(line: Line) -> str:
    shown = _shown(line)
    return line["why"] if not shown else shown.get("url") or " ".join(shown["command"])


def _show_plan(lines: list[Line]) -> None:
    show_table(["server", "what", "where"], [
        [line["name"], line["status"].replace("-", " "), _place(line)] for line in lines
    ])  # fmt: skip
    for line in lines:
        for remark in line["notes"]:
            note(f"{line['name']}: {remark}.")
        if line["status"] == "exists":
            note(f"{line['name']}: {line['why']}.")


def _show_outcome(lines: list[Line]) -> None:
    print()
    for line in lines:
        if "test" in line:
            print(
                f"{line['name']}: {line['status']}. {mark(line['test'])}: {describe(line['test'])}"
            )
        elif line["status"] in {"added", "replaced"}:
            print(f"{line['name']}: {line['status']}, {paint('off', 'dim')}.")
        elif line["status"] == "refused":
            print(f"{line['name']}: {paint('refused', 'red')}: {line['why']}")
    added = sum(line["status"] in {"added", "replaced"} for line in lines)
    print(f"{added} of {len(lines)} servers added.")
