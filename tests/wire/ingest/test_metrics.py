"""Counters of Claude Code and Codex: what was added in a minute, and not what was there before."""

import pytest
from support.otlp import counter, export, point

from agenthub.domain.usage import TOKENS_MAX, Usage
from agenthub.wire.ingest.metrics import read_metrics

TOKENS, COST, CODEX = "claude_code.token.usage", "claude_code.cost.usage", "codex.turn.token_usage"
HERE = {"session_id": "s1", "model": "claude-opus-4-8[1m]"}


def read(*metrics, **resource):
    return read_metrics(export("Metrics", *metrics, **resource))


def test_what_claude_code_counts_is_one_report_for_each_session_and_model():
    kinds = {"input": 10, "cacheRead": 200, "cacheCreation": 30, "output": 7}
    points = [point(count, type=kind, **HERE) for kind, count in kinds.items()]
    other = point(5, type="output", session_id="s2", model="claude-haiku-4-5")
    reports, rejected = read(counter(TOKENS, *points, other), counter(COST, point(0.0047, **HERE)))
    first, second = reports
    assert rejected == 0
    assert first.usage == Usage(240, 200, 30, output_tokens=7)
    assert (first.source, first.session, first.model) == ("claude-code", "s1", "claude-opus-4-8")
    assert (first.provider, first.reported) == ("anthropic", 4_700_000)
    assert (first.duration_us, first.is_sum, first.is_subscribed) == (60_000_000, True, False)
    assert (second.session, second.usage.output_tokens, second.reported) == ("s2", 5, None)
    assert first.id != second.id
    assert first.id.startswith("sum")


def test_what_codex_counts_is_a_histogram_whose_input_contains_the_cache():
    kinds = {
        "input": 1000,
        "cached_input": 400,
        "output": 50,
        "reasoning_output": 20,
        "all": 1050,
    }
    points = [
        point(count, token_type=kind, conversation_id="c1", model="gpt-5.5")
        for kind, count in kinds.items()
    ]
    ((report,), _) = read(counter(CODEX, *points, kind="histogram"))
    assert report.usage == Usage(1000, 400, output_tokens=50, reasoning_tokens=20)
    assert (report.source, report.provider, report.session) == ("codex", "openai", "c1")


def test_each_minute_is_a_report_of_its_own_and_the_same_when_it_is_sent_again():
    def minute(number):
        at = 1_700_000_000_000_000_000 + number * 60 * 10**9
        ((report,), _) = read(counter(TOKENS, point(1, at=at, type="output", **HERE)))
        return report.id

    assert minute(1) != minute(2)
    assert minute(1) == minute(1)


def test_totals_since_the_start_are_rejected_for_they_would_count_again_and_again():
    totals = counter(TOKENS, point(1, type="input"), point(2, type="output"), temporality=2)
    assert read(totals) == ([], 2)
    unsaid = counter(TOKENS, point(1, type="input"), temporality=0)
    assert read(unsaid, counter("http.requests", point(1), temporality=2)) == ([], 1)


@pytest.mark.parametrize("written", [1, "1", "AGGREGATION_TEMPORALITY_DELTA"])
def test_that_it_is_what_was_added_may_be_written_in_each_way(written):
    reports, rejected = read(counter(TOKENS, point(1, type="output"), temporality=written))
    assert (len(reports), rejected) == (1, 0)


@pytest.mark.parametrize("value", [-1, 1.5, float(2**80)])
def test_what_is_no_count_is_none(value):
    odd = point(value, type="output", **HERE)
    reports, _ = read(counter(TOKENS, odd))
    assert all(one.usage.output_tokens <= TOKENS_MAX for one in reports)
    assert value > 2**60 or reports == []


def test_a_cost_without_counts_and_counts_of_unknown_kinds_are_no_report():
    odd = counter(TOKENS, point(1, type="audio"), {"attributes": []})
    assert read(counter(COST, point(1.0, **HERE), {}), odd) == ([], 0)


def test_a_subscription_is_said_by_the_resource():
    ((report,), _) = read(counter(TOKENS, point(1, type="output")), billing="subscription")
    assert report.is_subscribed


@pytest.mark.parametrize(
    "metric",
    [{}, {"name": TOKENS}, {"name": TOKENS, "sum": 1}, {"name": TOKENS, "gauge": {}},
     {"name": TOKENS, "sum": {"aggregationTemporality": 1, "dataPoints": "x"}},
     {"name": TOKENS, "sum": {"aggregationTemporality": 1, "dataPoints": [1, None]}}, {"name": 1}],
)  # fmt: skip
def test_what_is_no_metric_is_passed_over(metric):
    assert read(metric) == ([], 0)
