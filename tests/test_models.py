"""Whom a model's name means, on a wire, for a caller."""

import pytest
from msgspec import structs
from support.house import ANNA, house, server
from support.virtual_time import virtual_time

from agenthub.domain.content import Target, targets_of
from agenthub.domain.errors import BadSetting, UnknownTarget
from agenthub.domain.provider import Llm


def provider(name, *models, wires=("chat",), **more):
    return server(name, llm=Llm(provider=name, wires=wires, models=models), **more)


OPENAI = provider("openai", "gpt-*", wires=("chat", "responses"))
GROQ = provider("groq")


def refusal(models, wire, name, caller=ANNA):
    with pytest.raises(UnknownTarget) as caught:
        models.resolve(wire, name, caller)
    return str(caught.value)


@virtual_time()
async def test_a_name_with_its_provider_means_that_provider():
    async with house(OPENAI, GROQ, "calculator") as hub:
        resolve = hub.catalog.models.resolve
        assert resolve("chat", "groq/llama/3.3", ANNA) == (Target("groq", "llama/3.3"),)


@virtual_time()
async def test_a_bare_name_means_the_provider_that_claims_it():
    async with house(OPENAI, GROQ) as hub:
        assert hub.catalog.models.resolve("chat", "gpt-5", ANNA) == (Target("openai", "gpt-5"),)


@virtual_time()
async def test_a_bare_name_that_nobody_claims_means_the_only_one_there_is():
    demo = structs.replace(provider("demo"), url=None)
    async with house(GROQ, demo) as hub:
        models = hub.catalog.models
        assert models.resolve("chat", "org/llama", ANNA) == (Target("groq", "org/llama"),)
        assert models.resolve("chat", "demo/demo-1", ANNA) == (Target("demo", "demo-1"),)


@virtual_time()
async def test_a_bare_name_that_two_could_mean_is_asked_back():
    async with house(GROQ, provider("mistral")) as hub:
        words = refusal(hub.catalog.models, "chat", "llama")
        assert words == "Which llama? Name the provider: groq/llama, mistral/llama"


@virtual_time()
async def test_only_providers_that_speak_the_wire_are_meant():
    async with house(OPENAI, GROQ) as hub:
        models = hub.catalog.models
        assert models.resolve("responses", "x", ANNA) == (Target("openai", "x"),)
        words = refusal(models, "messages", "claude")
        assert "No provider that speaks messages serves the model 'claude' (there: none)" in words


@virtual_time()
async def test_a_provider_that_the_caller_may_not_see_does_not_exist_for_it():
    limited = structs.replace(ANNA, endpoints=frozenset({"openai"}))
    async with house(OPENAI, GROQ) as hub:
        assert "(there: openai)" not in refusal(hub.catalog.models, "messages", "m", limited)
        found = hub.catalog.models.resolve("chat", "groq/llama", limited)
        assert found == (Target("openai", "groq/llama"),)


@virtual_time()
async def test_a_provider_that_is_switched_off_is_not_asked():
    async with house(provider("off", enabled=False), GROQ) as hub:
        assert list(hub.catalog.models.providers("chat", ANNA)) == ["groq"]


@virtual_time()
async def test_an_alias_names_whom_to_ask_in_their_order():
    async with house(OPENAI, GROQ) as hub:
        models = hub.catalog.models
        models.reload({"fast": ("groq/a", "openai/b", "gone/c"), "lost": ("gone/c",)})
        assert models.resolve("chat", "fast", ANNA) == (Target("groq", "a"), Target("openai", "b"))
        assert models.resolve("responses", "fast", ANNA) == (Target("openai", "b"),)
        assert refusal(models, "chat", "lost") == "No provider of the model 'lost' speaks chat"


@pytest.mark.parametrize("name", ["", "a" * 257, "a\n"])
@virtual_time()
async def test_what_is_no_name_is_unknown(name):
    async with house(GROQ) as hub:
        assert refusal(hub.catalog.models, "chat", name).startswith("Unknown model")


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("a/b", ("p/m",), "name: expected a model's name without `/`"),
        ("", ("p/m",), "name: "),
        ("a", (), "targets: expected 1 to 10"),
        ("a", ("p/m",) * 11, "targets: expected 1 to 10"),
        ("a", ("m",), "targets: expected endpoint/model, got 'm'"),
        ("a", ("/m",), "targets: expected endpoint/model"),
        ("a", ("p/",), "targets: expected endpoint/model"),
    ],
)
def test_an_alias_that_cannot_be_is_refused(name, written, words):
    with pytest.raises(BadSetting) as caught:
        targets_of(name, written)
    assert words in str(caught.value)
