"""What Claude Code and Codex report of their calls, as recorded from the programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.usage import Usage
from agenthub.wire.ingest.logs import read_logs
from agenthub.wire.ingest.spans import read_spans

CLAUDE = {
    "event.name": "api_request",
    "session.id": "s1",
    "event.sequence": 4,
    "model": "claude-opus-4-8[1m]",
    "input_tokens": 10,
    "cache_read_tokens": 200,
    "cache_creation_tokens": 30,
    "output_tokens": 7,
    "cost_usd": 0.0047,
    "duration_ms": 1200,
}
CODEX = {
    "event.name": "codex.sse_event",
    "event.kind": "response.completed",
    "conversation.id": "c1",
    "model": "gpt-5.5",
    "input_token_count": "1000",
    "cached_token_count": "400",
    "cache_write_token_count": "0",
    "output_token_count": "50",
    "reasoning_token_count": "20",
}


def export(*records, at=1_700_000_000_000_000_000):
    written = [{"timeUnixNano": str(at), "attributes": pairs(record)} for record in records]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": written}]}]}


def pairs(record):
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    return [{"key": key, "value": {kinds[type(v)]: v}} for key, v in record.items()]


def test_input_of_claude_code_is_told_without_the_cache_and_counts_with_it():
    (report,) = read_logs(export(CLAUDE))

    assert report.usage == Usage(240, 200, 30, output_tokens=7)
    assert (report.source, report.session, report.provider) == ("claude-code", "s1", "anthropic")
    assert report.model == "claude-opus-4-8"
    assert report.reported == 4_700_000
    assert (report.ended_us, report.duration_us) == (1_700_000_000_000_000, 1_200_000)


def test_a_cost_in_micros_is_exact_and_goes_before_the_other():
    (report,) = read_logs(export({**CLAUDE, "cost_usd_micros": "4701"}))

    assert report.reported == 4_701_000


@pytest.mark.parametrize("wrong", [-0.5, "NaN", "-1", "1e30", 10**30, -1])
def test_a_cost_that_cannot_be_is_none(wrong):
    assert next(read_logs(export({**CLAUDE, "cost_usd": wrong}))).reported is None


def test_of_the_two_records_of_codex_the_one_with_counts_is_read():
    bare = {key: CODEX[key] for key in ("event.name", "event.kind", "conversation.id", "model")}

    (report,) = read_logs(export(bare, CODEX))

    assert report.usage == Usage(1000, 400, 0, output_tokens=50, reasoning_tokens=20)
    assert (report.source, report.session, report.provider) == ("codex", "c1", "openai")
    assert (report.model, report.reported) == ("gpt-5.5", None)


def test_other_records_are_passed_over():
    assert not list(read_logs(export({"event.name": "tool_result"}, {"x": 1})))


def test_a_resumed_session_that_counts_from_the_start_again_is_no_repetition():
    (before,) = read_logs(export(CLAUDE))
    (after,) = read_logs(export(CLAUDE, at=1_700_000_000_000_000_001))

    assert before.id != after.id


def test_of_an_attribute_that_comes_twice_the_first_holds_and_what_has_no_value_is_none():
    message = export(CLAUDE)
    (record,) = message["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    record["attributes"] += [
        {"key": "output_tokens", "value": {"intValue": 9}},
        {"key": "speed", "value": {}},
        {"key": 1, "value": {"intValue": 9}},
        {"key": "effort", "value": 1},
    ]

    assert next(read_logs(message)).usage.output_tokens == 7


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(CLAUDE | CODEX, JSON))), JSON)
def test_whatever_comes_is_read_without_failing_and_the_same_when_sent_again(values, other):
    events = [CLAUDE["event.name"], CODEX["event.name"]]
    records = [
        {
            "timeUnixNano": other,
            "attributes": [
                {"key": key, "value": {"stringValue": value}}
                for key, value in {**record, "event.name": events[place % 2]}.items()
            ],
        }
        for place, record in enumerate(values)
    ]
    message = {"resourceLogs": [other, {"scopeLogs": [{"logRecords": records}]}]}

    assert list(read_logs(message)) == list(read_logs(message))
    assert not list(read_spans(other))
    for report in read_logs(message):
        assert report.usage == report.usage.sound()
