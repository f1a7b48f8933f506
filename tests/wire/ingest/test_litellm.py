"""LiteLLM's standard logging payloads."""

import pytest

from agenthub.domain.usage import Usage
from agenthub.wire.ingest.litellm import read_payloads

PAYLOAD = {
    "id": "chatcmpl-1",
    "litellm_call_id": "l1",
    "trace_id": "t1",
    "status": "success",
    "cache_hit": None,
    "custom_llm_provider": "openai",
    "model": "gpt-5.5",
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "response_cost": 0.0047,
    "startTime": 1_700_000_000.5,
    "endTime": 1_700_000_001.5,
    "messages": [{"role": "user", "content": "secret"}],
    "response": {"choices": []},
    "metadata": {
        "usage_object": {
            "prompt_tokens_details": {"cached_tokens": 400},
            "completion_tokens_details": {"reasoning_tokens": 20},
        }
    },
}


def test_tokens_and_cost_are_read_and_what_was_said_is_not():
    (report,) = read_payloads([PAYLOAD])

    assert report.usage == Usage(1000, 400, output_tokens=50, reasoning_tokens=20)
    assert (report.source, report.session, report.provider) == ("litellm", "t1", "openai")
    assert (report.model, report.reported) == ("gpt-5.5", 4_700_000)
    assert (report.ended_us, report.duration_us) == (1_700_000_001_500_000, 1_000_000)
    assert "secret" not in repr(report)


def test_what_anthropic_wrote_to_its_cache_is_part_of_the_input():
    told = {"cache_read_input_tokens": 300, "cache_creation_input_tokens": 200}

    (report,) = read_payloads([{**PAYLOAD, "metadata": {"usage_object": told}}])

    assert report.usage == Usage(1000, 300, 200, output_tokens=50)


@pytest.mark.parametrize(
    "change",
    [{"status": "failure"}, {"cache_hit": True}, {"id": "", "litellm_call_id": None}],
)
def test_what_cost_nothing_or_could_count_twice_is_passed_over(change):
    assert not list(read_payloads([{**PAYLOAD, **change}]))


@pytest.mark.parametrize("message", [None, {}, [1, None, []], "text"])
def test_what_is_no_delivery_has_no_reports(message):
    assert not list(read_payloads(message))


@pytest.mark.parametrize("time", [None, "now", float("nan"), -1, 1e300, True])
def test_what_is_no_time_is_not_said(time):
    (report,) = read_payloads([{**PAYLOAD, "startTime": time, "endTime": time}])

    assert (report.ended_us, report.duration_us) == (0, 0)


def test_a_call_has_one_id_however_often_it_is_delivered():
    first, again = read_payloads([PAYLOAD, {**PAYLOAD, "response_cost": 1}])

    assert (first.id, again.reported) == (again.id, 1_000_000_000)


@pytest.mark.parametrize(
    ("base", "counts"),
    [
        ("http://127.0.0.1:8787/v1", False), ("HTTP://Hub.example.com", False),
        ("https://api.openai.com/v1", True), ("http://127.0.0.1:87871/v1", True), (None, True),
        ("127.0.0.1:8787", True), (7, True),
    ],
)  # fmt: skip
def test_what_litellm_sent_to_the_hub_itself_is_in_its_books_already(base, counts):
    own = {"127.0.0.1:8787", "hub.example.com"}
    assert len(list(read_payloads([{**PAYLOAD, "api_base": base}], own))) == counts


@pytest.mark.parametrize(
    "told",
    [
        {"cache_creation": {"ephemeral_1h_input_tokens": 150}},
        {"prompt_tokens_details": {
            "cache_creation_token_details": {"ephemeral_1h_input_tokens": 150}}},
    ],
)  # fmt: skip
def test_what_is_cached_for_an_hour_is_told_apart_for_it_is_dearer(told):
    usage = {"cache_creation_input_tokens": 200, **told}
    (report,) = read_payloads([{**PAYLOAD, "metadata": {"usage_object": usage}}])
    assert (report.usage.cache_write_tokens, report.usage.cache_write_1h_tokens) == (200, 150)


@pytest.mark.parametrize("model", ["gpt-5.5", "openai/gpt-5.5"])
def test_a_model_is_called_as_its_provider_calls_it(model):
    (report,) = read_payloads([{**PAYLOAD, "model": model}])
    assert report.model == "gpt-5.5"
