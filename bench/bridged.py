"""What a change of era on the way costs: all four pairs of client and server, one hub.

A client that can be asked nothing, and a server that asks nothing: the pairs differ in how a
message is written, and the bound is on the CPU beside the pair in which client and server agree.
"""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subject import Hub, Upstream
from traffic import Work, measure

if TYPE_CHECKING:
    from caller import Caller

ERAS = ("modern", "legacy")
WORK = Work("echo", 16)
BOUND = 1.5
"""Times the CPU of the same era on both sides."""


class _Pair:
    """A subject: the hub, as one client sees one of its servers."""

    def __init__(self, hub: Hub, client: str, server: str) -> None:
        self.process = hub.process
        self.caller: Caller = replace(hub.caller, path=f"/mcp/{server}", era=client)


def bridged(home: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Microseconds of CPU for each pair, named client-server, and each bridge's ratio."""
    upstreams = {era: Upstream(era) for era in ERAS}
    hub = Hub(home, {era: upstream.url for era, upstream in upstreams.items()}, "/mcp/modern")
    with upstreams["modern"].process, upstreams["legacy"].process:
        hub.start()
        with hub.process:
            pairs = {f"{c}-{s}": _Pair(hub, c, s) for c in ERAS for s in ERAS}
            seen: dict[str, list[float]] = {name: [] for name in pairs}
            errors = 0
            for _ in range(rounds):
                for name, pair in pairs.items():
                    one = measure(pair, WORK, seconds)
                    seen[name].append(one["cpu_us"])
                    errors += one["errors"]
    cpu = {name: statistics.median(ones) for name, ones in seen.items()}
    ratios = {
        "modern-legacy": _ratio(seen["modern-legacy"], seen["modern-modern"]),
        "legacy-modern": _ratio(seen["legacy-modern"], seen["legacy-legacy"]),
    }
    return {"cpu_us": cpu, "x": ratios, "errors": errors}


def _ratio(ones: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))
