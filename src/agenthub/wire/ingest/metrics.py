"""Counters of coding agents, for those who send no logs: sums over the calls of a minute.

    claude_code.token.usage  a sum; `type` is input, output, cacheRead or cacheCreation
    claude_code.cost.usage   a sum in US dollars
    codex.turn.token_usage   a histogram; `token_type` is input, cached_input, output, …

Only what was added since the last export counts (delta temporality): a total since the start would
count again with each export. What is cumulative is rejected, and the sender is told so.
Source: as recorded from Claude Code 2.1 and Codex 0.169.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from agenthub.domain.usage import TOKENS_MAX, Usage
from agenthub.wire.ingest.otlp import attributes, is_subscribed, records, time_ns
from agenthub.wire.ingest.report import SUM, Report, dollars, identity, text, whole

CUMULATIVE: Final = (
    "Totals since the start cannot be counted: set"
    " OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta"
)
_DELTA: Final = (1, "1", "AGGREGATION_TEMPORALITY_DELTA")
_TOKENS: Final = {"claude_code.token.usage": "type", "codex.turn.token_usage": "token_type"}
_COST: Final = "claude_code.cost.usage"
_KINDS: Final = {
    "input": "input", "output": "output", "cacheRead": "read", "cacheCreation": "written",
    "cached_input": "read", "reasoning_output": "reasoning",
}  # fmt: skip
_Place: TypeAlias = tuple[str, str, str, int]
"""Source, session, model, and when the span of the sum ended; each point has a begin of its own."""


class _Sums:
    """What was added up at one place."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.cost: str | None = None
        self.began_ns = 0
        self.is_subscribed = False


def read_metrics(message: Any) -> tuple[list[Report], int]:
    """The reports in an export of metrics, and how many data points are no sums of a span."""
    found: dict[_Place, _Sums] = {}
    rejected = 0
    for shared, metric in records(message, "Metrics"):
        name = metric.get("name")
        if name not in _TOKENS and name != _COST:
            continue
        data, points = _points(metric)
        if data.get("aggregationTemporality") not in _DELTA:
            rejected += len(points)
            continue
        for point in points:
            said = attributes(point)
            sums = found.setdefault(_place(str(name), said, point), _Sums())
            sums.is_subscribed |= is_subscribed(shared, said)
            began_ns = time_ns(point, "startTimeUnixNano")
            sums.began_ns = min(began_ns, sums.began_ns or began_ns)
            _add(sums, str(name), said, point)
    return [_report(place, sums) for place, sums in found.items() if sums.counts], rejected


def _points(metric: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The sum or histogram, and its points."""
    for kind in ("sum", "histogram"):
        data = metric.get(kind)
        if type(data) is dict:
            held = cast("dict[str, Any]", data)
            points = held.get("dataPoints")
            listed = cast("list[Any]", points) if type(points) is list else []
            return held, [one for one in listed if type(one) is dict]
    return {}, []


def _place(name: str, said: Mapping[str, Any], point: Mapping[str, Any]) -> _Place:
    source = "codex" if name.startswith("codex.") else "claude-code"
    session = text(said.get("session.id")) or text(said.get("conversation.id"))
    model = text(said.get("model")).partition("[")[0]
    return source, session, model, time_ns(point, "timeUnixNano")


def _add(sums: _Sums, name: str, said: Mapping[str, Any], point: Mapping[str, Any]) -> None:
    value = next(_values(point), None)
    if name == _COST:
        sums.cost = None if value is None else str(value)
        return
    kind, count = _KINDS.get(text(said.get(_TOKENS[name]))), whole(value)
    if kind is not None and count is not None:
        sums.counts[kind] = min(sums.counts.get(kind, 0) + count, TOKENS_MAX)


def _values(point: Mapping[str, Any]) -> Iterator[Any]:
    """Of a sum, as a whole number or not; of a histogram."""
    return (point[one] for one in ("asInt", "asDouble", "sum") if one in point)


def _report(place: _Place, sums: _Sums) -> Report:
    source, session, model, ended_ns = place
    counts = sums.counts
    read, written = counts.get("read", 0), counts.get("written", 0)
    total = counts.get("input", 0)
    if source == "claude-code":
        total += read + written
    usage = Usage(
        total, read, written, output_tokens=counts.get("output", 0),
        reasoning_tokens=counts.get("reasoning", 0),
    ).sound()  # fmt: skip
    parts = (f"{kind} {count}" for kind, count in sorted(counts.items()))
    number = identity(f"{source} metrics", session, model, ended_ns, *parts)
    lasted_ns = max(0, ended_ns - sums.began_ns) if sums.began_ns else 0
    return Report(
        SUM + number[len(SUM) :], source, session,
        "openai" if source == "codex" else "anthropic", model, usage, dollars(sums.cost),
        ended_ns // 1_000, lasted_ns // 1_000, is_sum=True, is_subscribed=sums.is_subscribed,
    )  # fmt: skip
