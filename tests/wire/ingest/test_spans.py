"""Spans of the conventions for generative AI, under all names that they had."""

import pytest

from agenthub.domain.usage import Usage
from agenthub.wire.ingest.spans import read_spans

BEGAN, ENDED = 1_700_000_000_000_000_000, 1_700_000_001_000_000_000


def spans(said, **members):
    pairs = [
        {"key": key, "value": {"intValue" if type(value) is int else "stringValue": value}}
        for key, value in {"gen_ai.operation.name": "chat", **said}.items()
    ]
    span = {
        "traceId": "t" * 32,
        "spanId": "s" * 16,
        "startTimeUnixNano": str(BEGAN),
        "endTimeUnixNano": str(ENDED),
        "attributes": pairs,
        **members,
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


NAMES = [
    ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_write.input_tokens"),
    ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_creation.input_tokens"),
    ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    ("prompt_tokens", "completion_tokens", "cache_read_input_tokens", "cache_write.input_tokens"),
]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("reasoning", ["reasoning.output_tokens", "reasoning_tokens"])
def test_counts_are_read_under_all_their_names(names, reasoning):
    counts = dict(zip((*names, reasoning), (100, 50, 40, 30, 20), strict=True))

    (report,) = read_spans(spans({f"gen_ai.usage.{key}": v for key, v in counts.items()}))

    assert report.usage == Usage(100, 40, 30, output_tokens=50, reasoning_tokens=20)
    assert report.duration_us == 1_000_000


@pytest.mark.parametrize("name", ["gen_ai.provider.name", "gen_ai.system"])
def test_the_model_that_answered_goes_before_the_one_asked_for(name):
    said = {
        name: "openai",
        "gen_ai.request.model": "asked",
        "gen_ai.conversation.id": "c",
        "gen_ai.usage.input_tokens": 1,
    }

    (asked,) = read_spans(spans(said))
    (answered,) = read_spans(spans({**said, "gen_ai.response.model": "answered"}))

    assert (asked.model, answered.model) == ("asked", "answered")
    assert (asked.provider, asked.session, asked.source) == ("openai", "c", "otlp")


@pytest.mark.parametrize("operation", ["invoke_agent", "invoke_workflow", "execute_tool"])
def test_what_sums_up_others_is_passed_over(operation):
    said = {"gen_ai.operation.name": operation, "gen_ai.usage.input_tokens": 1}

    assert not list(read_spans(spans(said)))


@pytest.mark.parametrize("member", ["traceId", "spanId"])
def test_a_span_without_an_id_could_count_twice_and_is_passed_over(member):
    assert not list(read_spans(spans({"gen_ai.usage.input_tokens": 1}, **{member: ""})))


def test_a_span_without_counts_is_passed_over():
    assert not list(read_spans(spans({"gen_ai.request.model": "m"})))


def test_a_span_that_does_not_say_when_it_began_has_no_duration():
    (report,) = read_spans(spans({"gen_ai.usage.input_tokens": 1}, startTimeUnixNano=0))

    assert (report.ended_us, report.duration_us) == (ENDED // 1_000, 0)
