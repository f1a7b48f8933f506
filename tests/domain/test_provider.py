"""LLM providers as data: presets, what is filled in, and what cannot be."""

import pytest

from agenthub.domain.endpoint import Endpoint, OAuth, RateLimit, Timeouts
from agenthub.domain.endpoint_check import check_endpoint
from agenthub.domain.endpoint_fill import completed
from agenthub.domain.errors import BadSetting
from agenthub.domain.provider import PRESETS, Llm, path_of


def preset(name, **more):
    return completed(Endpoint(name="p", llm=Llm(preset=name), **more))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_alone_is_a_provider_that_can_work(name):
    made = preset(name)
    check_endpoint(made)
    assert made.url == PRESETS[name].url
    assert made.llm.wires
    assert completed(made) == made


def test_an_mcp_server_is_left_as_it_is():
    server = Endpoint(name="s", url="https://example.org/mcp")
    assert completed(server) is server


def test_what_is_written_outweighs_the_preset():
    made = completed(
        Endpoint(
            name="p", url="https://eu.example.org/v1", headers={"Authorization": "Bearer ${EU}"},
            llm=Llm(preset="openai", provider="azure", models=("gpt-5*",), wires=("chat",)),
            timeouts=Timeouts(idle_ms=1_000, call_ms=2_000), rate_limit=RateLimit(rps=1, burst=2),
        )
    )  # fmt: skip
    assert (made.url, made.headers) == (
        "https://eu.example.org/v1", {"Authorization": "Bearer ${EU}"}
    )  # fmt: skip
    assert (made.llm.provider, made.llm.models, made.llm.wires) == ("azure", ("gpt-5*",), ("chat",))
    assert (made.timeouts.idle_ms, made.timeouts.call_ms) == (1_000, 2_000)
    assert made.rate_limit == RateLimit(rps=1, burst=2)


def test_a_key_of_ones_own_replaces_the_presets():
    assert preset("openai").headers == {"Authorization": "Bearer ${OPENAI_API_KEY}"}
    own = preset("anthropic", headers={"X-Api-Key": "${MINE}"})
    assert own.headers == {"X-Api-Key": "${MINE}"}
    token = preset("anthropic", headers={"Authorization": "Bearer ${TOKEN}"})
    assert token.headers == {"Authorization": "Bearer ${TOKEN}"}


def test_a_model_has_minutes_and_no_rate_limit_unless_one_is_given():
    made = preset("openai")
    assert (made.timeouts.idle_ms, made.timeouts.call_ms) == (300_000, 600_000)
    assert made.rate_limit is None


def test_any_address_that_speaks_a_wire_is_a_provider_under_its_own_name():
    made = completed(Endpoint(name="mine", url="http://127.0.0.1:1/v1", llm=Llm(wires=("chat",))))
    check_endpoint(made)
    assert made.llm.provider == "mine"


def test_a_bare_name_is_meant_for_whom_claims_it_on_its_wire():
    llm = Llm(wires=("chat",), models=("gpt-*", "o3"))
    assert llm.serves("chat", "gpt-5")
    assert llm.serves("chat", "o3")
    assert not llm.serves("chat", "o3-mini")
    assert not llm.serves("messages", "gpt-5")


def test_a_wire_is_where_it_usually_is_or_where_the_provider_has_it():
    llm = PRESETS["gemini"].llm
    assert path_of(llm, "chat", "/chat/completions") == "/openai/chat/completions"
    assert path_of(llm, "gemini", "/models/m") == "/models/m"


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (Endpoint(name="p", llm=Llm(preset="opanai")), "llm.preset: expected one of openai"),
        (Endpoint(name="p", url="http://x/v1", llm=Llm()), "llm.wires: expected what it speaks"),
        (
            Endpoint(name="p", url="http://x/v1", llm=Llm(wires=("mcp",))),
            "llm.wires: expected chat",
        ),
        (
            Endpoint(name="p", url="http://x/", llm=Llm(wires=("chat",), output_max=0)),
            "llm.output_max: expected a number",
        ),
        (Endpoint(name="p", llm=Llm(wires=("chat",))), "url: expected the address"),
        (Endpoint(name="p", url="http://x/", llm=Llm(preset="demo")), "url: expected the address"),
        (
            Endpoint(name="p", url="http://x/", command=("a",), llm=Llm(wires=("chat",))),
            "llm: a provider has no `command`",
        ),
        (
            Endpoint(name="p", url="https://x/", oauth=OAuth(), llm=Llm(wires=("chat",))),
            "llm: a provider has no",
        ),
        (
            Endpoint(name="p", url="http://x/", fallbacks=("q",), llm=Llm(wires=("chat",))),
            "llm: a model's fallbacks are named by an alias",
        ),
        (
            Endpoint(name="p", url="http://x/", llm=Llm(wires=("chat",), paths={"chat": "../v1"})),
            "llm.paths: expected a path",
        ),
        (
            Endpoint(name="p", url="http://x/", llm=Llm(wires=("chat",), models=("a\n",))),
            "llm.models: expected names",
        ),
        (
            Endpoint(name="p", url="http://x/", llm=Llm(wires=("chat",), models=("a",) * 1_001)),
            "llm.models: expected at most",
        ),
    ],
)
def test_a_provider_that_cannot_work_is_refused_by_key(endpoint, words):
    with pytest.raises(BadSetting) as caught:
        check_endpoint(completed(endpoint))
    assert words in str(caught.value)
