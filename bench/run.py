"""What the hub costs, beside the bare upstream and, where it is installed, beside nginx.

    make bench                             everything, about six minutes
    python bench/run.py --only traffic --max-cpu-x 3.5      the gate
    python bench/run.py --only stop --stop-calls 1000000    no row of the log is lost by SIGTERM
    BENCH_PRIO='chrt -r 5' python bench/run.py              as root, on a machine that others use

Upstream and load generator (upstream.c, load.c) run on core 0, what is measured has core 1. Every
answer is checked: status, text, its own id. All load goes to 127.0.0.1 and is bounded in calls.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bridged import bridged
from caller import Load
from facts import facts
from ledger import ledger
from listening import listening
from models import models, show
from report import show_section, show_traffic, too_much
from standing import calls_upstream, idle_memory, many_tools, start_ms, stop_under_load
from subject import Hub, Nginx, Subject, Upstream
from tool import tool
from traffic import Work, compare

SECTIONS = (
    "traffic",
    "bridged",
    "upstream",
    "logged",
    "start",
    "memory",
    "listening",
    "lists",
    "stop",
    "models",
    "ledger",
)
STANDING = {"start": start_ms, "memory": idle_memory, "listening": listening}
RESULTS = Path(__file__).parent / "results"
OPEN_LOOP = 20_000
"""Calls a second, the figure of the issue."""

MODERN = [
    Work("echo", 1),
    Work("echo", 16),
    Work("echo", 64),
    Work("echo", 64, OPEN_LOOP),
    Work("blob", 16, calls_max=20_000),
    Work("sleep", 64, calls_max=6_000),
]
LEGACY = [Work("echo", 1), Work("echo", 16), Work("blob", 16, calls_max=20_000)]


def traffic(home: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    lines = []
    for era, works in (("modern", MODERN), ("legacy", LEGACY)):
        with ExitStack() as stack:
            upstream = Upstream(era)
            stack.enter_context(upstream.process)
            subjects: dict[str, Subject] = {"direct": upstream}
            if Nginx.program():
                subjects["nginx"] = Nginx(home / f"nginx-{era}", upstream)
                stack.enter_context(subjects["nginx"].process)
            hub = Hub(home / f"traffic-{era}", {"bench": upstream.url}, era=era)
            hub.start()
            stack.enter_context(hub.process)
            subjects["hub"] = hub
            lines += [{"era": era, **line} for line in compare(subjects, works, rounds, seconds)]
    return lines


def steady(home: Path, upstream: Upstream) -> tuple[dict[str, float], dict[str, float]]:
    """Requests and connections a call; and, in the open loop, the rows beside the calls."""
    hub = Hub(home, {"bench": upstream.url})
    hub.start()
    with hub.process:
        per_call = calls_upstream(hub, upstream)
        before = upstream.stats()["tools_call"]
        known = hub.rows_soon(before)
        seen = Load(hub.caller, "echo", 64).run(3 * OPEN_LOOP, OPEN_LOOP)
        answered = seen["calls"] - seen["errors"]
        rows = hub.rows_soon(known + answered) - known
    return per_call, {"answered": answered, "rows": rows, "p99_us": seen["lat"]["p99"]}


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    wanted = set(options.only or SECTIONS)
    if "models" in wanted:
        wanted.add("ledger")  # What a call of a model waits for.
    result: dict[str, Any] = {"machine": facts()}
    if "traffic" in wanted:
        result["traffic"] = traffic(home, options.rounds, options.seconds)
        show_traffic(result["traffic"])
    alone = {
        "bridged": lambda folder: bridged(folder, options.rounds, options.seconds),
        "models": lambda folder: models(folder, options.rounds, options.seconds),
        "ledger": ledger,
    }
    result |= {name: run(home / name) for name, run in alone.items() if name in wanted}
    _standing(wanted, options, home, result)
    if "models" in result:
        show(result["models"])
    for section in SECTIONS[1:]:
        if section in result and section != "models":
            show_section(section, result[section])
    return result


def _standing(
    wanted: set[str], options: argparse.Namespace, home: Path, result: dict[str, Any]
) -> None:
    """The sections that share one upstream."""
    upstream = Upstream()
    with upstream.process:
        if "upstream" in wanted or "logged" in wanted:
            result["upstream"], result["logged"] = steady(home / "steady", upstream)
        for section, found_by in STANDING.items():
            if section in wanted:
                result[section] = found_by(home / section, upstream)
        if "lists" in wanted:
            result["lists"] = many_tools(home / "lists")
        if "stop" in wanted:
            result["stop"] = stop_under_load(home / "stop", upstream, options.stop_calls)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=SECTIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of load in each measurement")
    parser.add_argument(
        "--stop-calls", type=int, default=200_000, help="in whose middle SIGTERM comes"
    )
    parser.add_argument("--max-cpu-x", type=float, help="fail above it, at 16 connections")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    for program in ("upstream", "load"):
        tool(program)
    with tempfile.TemporaryDirectory(prefix="agenthub-bench-") as folder:
        result = measure(options, Path(folder))
    file = (
        options.json
        or RESULTS / f"{result['machine']['at'][:10]}-{result['machine']['commit']}.json"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"All figures: {file}")
    wrong = too_much(result, options.max_cpu_x)
    for one in wrong:
        print(f"FAIL: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
