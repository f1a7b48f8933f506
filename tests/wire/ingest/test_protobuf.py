"""Telemetry as protobuf is the same as its JSON, and what is neither is told so."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.otlp import (
    CLAUDE,
    RESPONSES,
    SPAN,
    counter,
    export,
    log,
    pairs,
    point,
    protobuf,
    span,
)

from agenthub.wire.ingest.logs import read_logs
from agenthub.wire.ingest.metrics import read_metrics
from agenthub.wire.ingest.otlp import REJECTED, refused, taken
from agenthub.wire.ingest.protobuf import tree
from agenthub.wire.ingest.spans import read_spans

READERS = {
    "Logs": lambda message: list(read_logs(message)),
    "Spans": lambda message: list(read_spans(message)),
    "Metrics": read_metrics,
}
NAMES = st.sampled_from([*CLAUDE, *SPAN, "x"])
VALUES = st.integers(-5, 2**62) | st.text(max_size=8) | st.floats(0, 1e9) | st.booleans()
SAID = st.dictionaries(NAMES, VALUES, max_size=8)


def both(kind, message):
    read = READERS[kind]
    as_json = read(message)
    assert read(tree(kind, protobuf(kind, message))) == as_json
    return as_json


@given(st.lists(SAID, max_size=3))
def test_logs_read_the_same_from_both(some):
    both("Logs", export("Logs", *(log(CLAUDE | one) for one in some)))


@given(st.lists(SAID, max_size=3))
def test_spans_read_the_same_from_both(some):
    both("Spans", export("Spans", *(span(SPAN | one) for one in some)))


def test_each_kind_brings_its_reports():
    assert len(both("Logs", export("Logs", log(CLAUDE), billing="subscription"))) == 1
    assert len(both("Spans", export("Spans", span(SPAN)))) == 1
    points = [point(5, type="output", session_id="s"), point(0.5, type="input")]
    some = counter("claude_code.token.usage", *points)
    more = counter("codex.turn.token_usage", point(3, token_type="output"), kind="histogram")
    reports, rejected = both("Metrics", export("Metrics", some, more))
    assert (len(reports), rejected) == (2, 0)


def test_a_span_is_the_same_in_whichever_letters_its_ids_are_written():
    lower, upper = span(SPAN), span(SPAN)
    upper |= {name: upper[name].upper() for name in ("traceId", "spanId")}
    one, other = (list(read_spans(export("Spans", each))) for each in (lower, upper))
    assert one == other


def test_what_a_client_adds_to_a_models_name_is_left_out():
    (report,) = read_spans(export("Spans", span({**SPAN, "gen_ai.request.model": "opus[1m]"})))
    assert report.model == "opus"


def test_what_somebody_wrote_is_not_even_looked_at():
    record = log(CLAUDE) | {"body": {"stringValue": "secret"}}
    assert "secret" not in str(tree("Logs", protobuf("Logs", export("Logs", record))))


def test_values_inside_values_are_read_over():
    nested = {"kvlistValue": {"values": pairs({"a": 1})}}
    record = log(CLAUDE)
    record["attributes"].append({"key": "more", "value": nested})
    record["attributes"].append({"key": "list", "value": {"arrayValue": {"values": [nested]}}})
    assert len(both("Logs", export("Logs", record))) == 1


@given(st.binary(max_size=60))
def test_other_bytes_are_no_export_or_an_odd_one(data):
    for kind, read in READERS.items():
        with contextlib.suppress(ValueError):
            read(tree(kind, data))


def test_a_value_in_ten_thousand_values_is_refused():
    value = b""
    for _ in range(10_000):
        value = _field(5, _field(1, value))  # a list with one value in it
    for member in (2, 1, 1, 1):  # value, attributes, resource, resourceLogs
        value = _field(member, value)
    with pytest.raises(ValueError, match="no protobuf"):
        tree("Logs", value)


def _field(number, data):
    size, parts = len(data), bytearray()
    while size > 0x7F:
        parts.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *parts, size]) + data


# ------------------------------------------------------------ answers


@pytest.mark.parametrize("kind", REJECTED)
@pytest.mark.parametrize("rejected", [0, 1, 127, 128, 300, 2**40])
def test_the_answer_is_what_the_other_end_reads(kind, rejected):
    why = "é" * 100
    answer = RESPONSES[kind]()
    answer.ParseFromString(taken(kind, as_json=False, rejected=rejected, why=why))
    partial = answer.partial_success
    (count,) = [v for f, v in partial.ListFields() if f.json_name == REJECTED[kind]] or [0]
    assert (count, partial.error_message) == ((rejected, why) if rejected else (0, ""))


def test_in_json_it_says_the_same():
    assert taken("Logs", as_json=True) == b"{}"
    assert taken("Spans", as_json=True, rejected=2, why="x") == (
        b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"x"}}'
    )
    assert refused(3, "why", as_json=True) == b'{"code":3,"message":"why"}'


def test_a_refusal_is_a_status():
    assert refused(14, "why", as_json=False) == b"\x08\x0e\x12\x03why"
