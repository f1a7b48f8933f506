"""The table that a person reads, and what of it is over its bound."""

from typing import Any

from listening import too_slow

HEAD = ("work", "conns", "rate", "calls/s", "direct", "CPU us", "CPU x", "+p50 us", "+p99 us",
        "errors", "nginx us", "nginx +p50", "nginx +p99")  # fmt: skip


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    hub, nginx = line["hub"], line.get("nginx", {})
    return (
        f"{line['era']} {line['kind']}",
        str(line["connections"]),
        f"{line['rate']:,.0f}" if line["rate"] else "-",
        f"{hub['rps']:,.0f}",
        f"{line['direct']['rps']:,.0f}",
        f"{hub['cpu_us']:.1f}",
        f"{hub['cpu_x']:.2f}",
        f"{hub['added_p50']:,.0f}",
        f"{hub['added_p99']:,.0f}",
        str(hub["errors"]),
        f"{nginx['cpu_us']:.1f}" if nginx else "-",
        f"{nginx['added_p50']:,.0f}" if nginx else "-",
        f"{nginx['added_p99']:,.0f}" if nginx else "-",
    )


def show_traffic(lines: list[dict[str, Any]]) -> None:
    rows = [HEAD, *map(_row, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        print(first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest), sep="  ")
    for line in lines:
        for answer in line["hub"]["bad_answers"]:
            print(f"  first bad answer of {line['kind']}: {answer}")


def show_section(name: str, figures: dict[str, Any]) -> None:
    told = ", ".join(
        f"{key} {value:,.2f}" if isinstance(value, float) else f"{key} {value}"
        for key, value in figures.items()
    )
    print(f"{name}: {told}")


def too_much(result: dict[str, Any], cpu_x_max: float | None) -> list[str]:
    """What is wrong, in words; calls that failed and rows that are lost always are."""
    lines = result.get("traffic", [])
    wrong = [
        f"{line['hub']['errors']} wrong answers in {line['era']} {line['kind']}"
        for line in lines
        if line["hub"]["errors"]
    ]
    for line in lines:
        gated = line["kind"] == "echo" and line["connections"] == 16 and not line["rate"]
        over = cpu_x_max is not None and line["hub"]["cpu_x"] > cpu_x_max
        if gated and over and line["era"] == "modern":
            wrong.append(f"CPU x {line['hub']['cpu_x']:.2f}, allowed is {cpu_x_max}")
    wrong += [
        f"{section}: {result[section]['errors']} wrong answers"
        for section in ("bridged", "models")
        if section in result and result[section]["errors"]
    ]
    for section in ("logged", "stop"):
        found = result.get(section)
        if found and found["rows"] != found["answered"]:
            wrong.append(f"{section}: {found['answered']} calls answered, {found['rows']} rows")
    return wrong + too_slow(result.get("listening")) + _bad_stop(result.get("stop"))


def _bad_stop(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    wrong = []
    if not found["offered"] // 2 <= found["sent_at_sigterm"] < found["offered"]:
        wrong.append(f"stop: SIGTERM after {found['sent_at_sigterm']} calls, not in their middle")
    if found["rows_twice"]:
        wrong.append(f"stop: {found['rows_twice']} calls have more than one row")
    if found["exit_code"]:
        wrong.append(f"stop: exit code {found['exit_code']}")
    return wrong
