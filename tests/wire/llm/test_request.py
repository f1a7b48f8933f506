"""What is read of requests, what is refused, and that all else stays as it came."""

import json

import pytest
from inline_snapshot import snapshot

from agenthub.domain.errors import InvalidParams
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.request import (
    OUTPUT_TOKENS_MAX,
    STEERING,
    read_request,
    send_as,
    with_limit,
)
from agenthub.wire.strict_json import BadJson

CHAT, MESSAGES, RESPONSES = Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES
BODY_DIALECTS = [CHAT, MESSAGES, RESPONSES, Dialect.EMBEDDINGS]


def body(**fields):
    return json.dumps({"model": "gpt-5.5", **fields}).encode()


@pytest.mark.parametrize(
    ("dialect", "fields", "limit"),
    [
        (CHAT, {"max_tokens": 5}, 5),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 7}, 7),
        (CHAT, {"max_tokens": 7, "max_completion_tokens": 5}, 7),
        (CHAT, {"max_completion_tokens": None, "max_tokens": 0}, 0),
        (RESPONSES, {"max_output_tokens": 9}, 9),
        (RESPONSES, {"max_tokens": 9}, None),
        (MESSAGES, {"max_tokens": 64_000}, 64_000),
        (Dialect.EMBEDDINGS, {"max_tokens": 64_000}, None),
    ],
)
def test_each_dialect_has_its_own_name_for_the_longest_answer(dialect, fields, limit):
    assert read_request(dialect, body(**fields)).max_output == limit


def test_gemini_is_told_its_model_by_the_path():
    text = b'{"generationConfig":{"maxOutputTokens":10,"candidateCount":2},"contents":[]}'
    request = read_request(Dialect.GEMINI, text, "gemini-2.5-flash", stream=True)
    assert (request.model, request.stream) == ("gemini-2.5-flash", True)
    assert (request.max_output, request.n, request.size) == (10, 2, len(text))
    assert send_as(request, "gemini-3", include_usage=True) is text
    snake = b'{"generation_config":{"max_output_tokens":3,"candidate_count":4}}'
    request = read_request(Dialect.GEMINI, snake, "g")
    assert (request.max_output, request.n) == (3, 4)


def test_what_gemini_is_told_twice_is_held_for_at_its_most_and_limited_under_both_names():
    text = b'{"generationConfig":{"maxOutputTokens":3,"max_output_tokens":90}}'
    request = read_request(Dialect.GEMINI, text, "g")
    assert request.max_output == 90
    short = with_limit(request, 2, "google").body
    assert short == b'{"generationConfig":{"maxOutputTokens":2,"max_output_tokens":2}}'
    with pytest.raises(InvalidParams, match="generation_config: expected one of them"):
        read_request(Dialect.GEMINI, b'{"generationConfig":{},"generation_config":{}}', "g")


def test_choices_and_tiers_of_service_are_read():
    request = read_request(CHAT, body(n=3, service_tier="priority"))
    assert (request.n, request.service) == (3, "priority")
    assert read_request(MESSAGES, body(speed="fast", service_tier="auto")).service == "fast"
    assert read_request(MESSAGES, body(speed="standard")).service == ""
    assert read_request(MESSAGES, body(service_tier=7)).service == ""


@pytest.mark.parametrize("wrong", [-1, True, 1.0, "5", OUTPUT_TOKENS_MAX + 1, 2**70, [], {}])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_longest_answer_that_cannot_be_is_refused(name, wrong):
    """A41; also where the other name would be used."""
    with pytest.raises((InvalidParams, BadJson), match=f"{name}: expected a whole|64 bits"):
        read_request(CHAT, body(**{"max_completion_tokens": 1, name: wrong}))


@pytest.mark.parametrize("wrong", [0, 129, False, 1.5])
def test_a_number_of_choices_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidParams, match="n: expected a whole number from 1 to 128"):
        read_request(CHAT, body(n=wrong))


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b'"x"', b'{"model":"m","max_tokens":NaN}', b'{"a":1,"a":2}']
)
def test_what_is_no_strict_json_object_is_refused(text):
    with pytest.raises((BadJson, InvalidParams)):
        read_request(CHAT, text)


@pytest.mark.parametrize("name", sorted(STEERING))
@pytest.mark.parametrize("dialect", list(Dialect))
def test_fields_that_steer_the_provider_s_address_are_refused_by_name(dialect, name):
    """A57."""
    with pytest.raises(InvalidParams, match=f"{name}: not taken here"):
        read_request(dialect, body(**{name: "http://169.254.169.254"}), "m")


def test_a_response_in_the_background_is_refused():
    with pytest.raises(InvalidParams, match="background: not taken"):
        read_request(RESPONSES, body(background=True))
    assert read_request(RESPONSES, body(background=False)).model == "gpt-5.5"


@pytest.mark.parametrize(
    "model",
    [
        "gpt-5.5", "claude-opus-4-8[1m]", "ft:gpt-4.1:org::id", "@cf/meta/llama-3",
        "accounts/fireworks/models/x", "hf.co/a/B:Q4_K_M", "anthropic.claude-v2:0",
        "~anthropic/claude-latest",
    ],
)  # fmt: skip
def test_names_that_models_have_are_taken(model):
    assert read_request(CHAT, body(model=model)).model == model


@pytest.mark.parametrize(
    "model",
    [
        None, "", 5, ["m"], "../", "..", "a/../b", "a/./b", "/etc", "a//b", "a b", " gpt-5.5",
        "gpt-5.5\n", "gpt?x=1", "a#b", "a%2e", "a\\b", "\uff47pt", "x" * 257, "\u0000",
    ],
)  # fmt: skip
def test_names_that_no_model_has_are_refused(model):
    """A41, A57."""
    with pytest.raises(InvalidParams, match="model: expected"):
        read_request(CHAT, body(model=model))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stream": "yes"}, "stream: expected true or false"),
        ({"stream_options": []}, "stream_options: expected an object"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage: expected true"),
    ],
)
def test_what_the_hub_reads_must_have_its_type(fields, message):
    with pytest.raises(InvalidParams, match=message):
        read_request(CHAT, body(**fields))


RAW = (
    b' {"messages" : [{"content":"\\u00e9\\/ 1"}], "temperature":1.0E-2,\n'
    b' "model":"a" , "x":{"model":"a"}}\n'
)


@pytest.mark.parametrize("dialect", BODY_DIALECTS)
def test_only_the_model_s_name_is_other_on_the_way_on(dialect):
    sent = send_as(read_request(dialect, RAW), 'b"c', include_usage=True)
    assert sent == RAW.replace(b'"model":"a" ,', b'"model":"b\\"c" ,', 1)
    assert send_as(read_request(dialect, RAW), "a", include_usage=True) is RAW


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":null', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{}', b',"stream_options":{"include_usage":true}'),
        (b',"stream_options":{"a":1.0}', b',"stream_options":{"a":1.0,"include_usage":true}'),
        (b',"stream_options":{"include_usage":false}', b',"stream_options":{"include_usage":true}'),
        (
            b',"stream_options":{"include_usage" : true}',
            b',"stream_options":{"include_usage" : true}',
        ),
    ],
)
def test_a_chat_stream_is_asked_for_its_usage(options, expected):
    head = b'{"model":"a","stream":true'
    request = read_request(CHAT, head + options + b"}")
    assert send_as(request, "a", include_usage=True) == head + expected + b"}"
    assert send_as(request, "a", include_usage=False) == request.body
    assert request.tells_usage is (b" : true" in options)


def test_other_requests_are_not_asked_for_usage():
    whole = read_request(CHAT, b'{"model":"a","stream":false}')
    assert send_as(whole, "a", include_usage=True) is whole.body
    other = read_request(MESSAGES, b'{"model":"a","stream":true}')
    assert send_as(other, "a", include_usage=True) is other.body


def test_the_error_of_a_bad_name_shows_it():
    with pytest.raises(InvalidParams) as error:
        read_request(CHAT, body(model="my model"))
    assert str(error.value) == snapshot(
        "model: expected at most 256 letters, digits and -._:/@+,=()[]~, not 'my model'"
    )
