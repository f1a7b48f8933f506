"""Calls through each subject in turn, and what they cost beside calls straight to the upstream.

Every round measures all subjects one after the other, so that their ratios outlive a noisy
machine; the figures are medians over rounds. `CPU x`, the hub's CPU time a call over that of
upstream and client together (fixed C code), moves least with other load and with the machine.
"""

import statistics
from dataclasses import dataclass
from typing import Any

from caller import Load
from process import cpu_ns, own_cpu_ns
from subject import Subject

CALLS_MAX = 60_000
"""Of one measurement: a bound on load, whatever the speed."""


@dataclass(frozen=True)
class Work:
    """One kind of load: what is called, over how many connections, how often (0: at will)."""

    kind: str
    connections: int
    rate: float = 0
    calls_max: int = CALLS_MAX


def measure(subject: Subject, work: Work, seconds: float) -> dict[str, Any]:
    """About `seconds` of load after a warm-up, which also tells how many calls that is."""
    load = Load(subject.caller, work.kind, work.connections)
    speed = load.run(max(work.connections, 20))["rps"]
    speed = load.run(int(min(max(work.connections * 2, speed * 0.3), work.calls_max / 4)))["rps"]
    wanted = max(work.connections * 4, (work.rate or speed) * seconds)
    calls = int(min(work.calls_max, wanted))
    return under_load(subject, load, calls, work.rate)


def under_load(subject: Subject, load: Load, calls: int, rate: float = 0) -> dict[str, Any]:
    """So many calls, and what each cost: `own_cpu_us` is that of the subject's first process alone,
    of a hub without its database.
    """
    pid = subject.process.pid
    before, own_before = cpu_ns(pid), own_cpu_ns(pid)
    seen = load.run(calls, rate)
    seen["cpu_us"] = (cpu_ns(pid) - before) / calls / 1e3
    seen["own_cpu_us"] = (own_cpu_ns(pid) - own_before) / calls / 1e3
    return seen


def compare(
    subjects: dict[str, Subject], works: list[Work], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """A line for each work; `subjects` holds `direct` and what stands before it."""
    seen: dict[Work, dict[str, list[dict[str, Any]]]] = {
        work: {name: [] for name in subjects} for work in works
    }
    for _ in range(rounds):
        for work in works:
            for name, subject in subjects.items():
                one = measure(subject, work, seconds)
                if name == "direct":  # The yardstick of CPU is upstream and client together.
                    one["cpu_us"] += one["client_cpu"] / one["calls"] * 1e6
                seen[work][name].append(one)
    return [_line(work, found) for work, found in seen.items()]


def _line(work: Work, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    direct = found["direct"]
    line: dict[str, Any] = {
        "kind": work.kind,
        "connections": work.connections,
        "rate": work.rate,
        "direct": _median(direct, direct),
    }
    for name, ones in found.items():
        if name != "direct":
            line[name] = _median(ones, direct)
    return line


def _median(ones: list[dict[str, Any]], direct: list[dict[str, Any]]) -> dict[str, Any]:
    pairs = list(zip(ones, direct, strict=True))
    latency = {
        name: statistics.median(one["lat"][name] for one in ones)
        for name in ("p50", "p99", "p999", "max")
    }
    added = {
        f"added_{name}": statistics.median(
            one["lat"][name] - base["lat"][name] for one, base in pairs
        )
        for name in ("p50", "p99")
    }
    return {
        "calls": sum(one["calls"] for one in ones),
        "errors": sum(one["errors"] for one in ones),
        "rps": statistics.median(one["rps"] for one in ones),
        "cpu_us": statistics.median(one["cpu_us"] for one in ones),
        "cpu_x": statistics.median(one["cpu_us"] / base["cpu_us"] for one, base in pairs),
        **latency,
        **added,
        "bad_answers": [one["first_bad_answer"] for one in ones if one["errors"]][:1],
    }
