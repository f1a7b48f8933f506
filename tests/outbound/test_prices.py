"""Prices of models, against the real catalog, which comes with the package."""

import json
import subprocess
import sys
import warnings
from decimal import Decimal

import pytest

from agenthub.domain.money import USD
from agenthub.domain.price import FREE, PLAIN, Extra, Override, Rates, Tariff
from agenthub.domain.usage import Usage
from agenthub.outbound import prices as module
from agenthub.outbound.prices import CatalogPrices, tariff_of

NOW = 1_795_600_000
"""In November 2026."""
USED = Usage(1000, 400, output_tokens=50)
PRICES = CatalogPrices(())


def cost(provider, *models, usage=USED, extra=PLAIN, prices=PRICES):
    priced = prices.price(provider, models, usage, NOW, None, extra)
    return priced and priced.cost


def test_a_call_is_priced_by_the_catalog_with_its_version_and_rates():
    """The figure: money.md, where LiteLLM and genai-prices agreed on it."""
    priced = PRICES.price("openai", ("gpt-5.5",), USED, NOW, None)
    assert priced.cost == 4_700_000
    assert priced.ref == "catalog:genai-prices 0.2.3"
    assert json.loads(priced.rates)["input"] == 5 * USD


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "openai/gpt-5.5"),
        ("openai", "gpt-5.5-2026-04-23"),
        ("anthropic", "anthropic/claude-sonnet-4-5[1m]"),
        ("google", "models/gemini-2.5-flash"),
        ("azure", "gpt-5.5"),
        ("groq", "openai/gpt-oss-120b"),
        ("openrouter", "openai/gpt-4o"),
    ],
)
def test_names_with_prefixes_dates_and_suffixes_are_found(provider, model):
    assert cost(provider, model)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-77"),
        ("openai", "ft:gpt-4.1:org::id"),
        ("ollama", "llama3"),
        ("", ""),
        ("openai", "whisper-1"),
        ("mistral", "mistral-ocr-2512"),
    ],
)
def test_what_has_no_price_is_unpriced_and_not_free(provider, model):
    assert cost(provider, model) is None
    assert PRICES.ceiling(provider, model, 1000, 1000, NOW) is None


def test_the_model_that_answered_counts_before_the_one_asked_for():
    assert cost("openai", "gpt-4o", "gpt-5.5") == cost("openai", "gpt-4o")
    assert cost("openai", "unheard-of", "gpt-5.5") == 4_700_000


def test_an_override_is_first_also_where_only_the_asked_model_has_one():
    override = Override("3", "openai", "gpt-5.5", Tariff((Rates(input=USD, output=0),)))
    prices = CatalogPrices((override,))
    priced = prices.price("openai", ("gpt-5.5-2026-04-23", "gpt-5.5"), USED, NOW, 7)
    assert (priced.cost, priced.ref) == (1_000_000, "override:3")
    assert prices.ceiling("openai", "gpt-5.5", 2000, 5, NOW) == 2_000_000


def test_overrides_change_while_the_hub_runs():
    prices = CatalogPrices(())
    before = cost("openai", "gpt-5.5", prices=prices)
    prices.reload(
        [Override("1", "openai", "gpt-5.5", Tariff((Rates(input=0, output=0, request=7),)))]
    )
    assert cost("openai", "gpt-5.5", prices=prices) == 7
    prices.reload(())
    assert cost("openai", "gpt-5.5", prices=prices) == before


def test_a_local_model_is_free_by_an_override():
    prices = CatalogPrices((Override("local", "ollama", "*", Tariff((FREE,))),))
    assert cost("ollama", "llama3", prices=prices) == 0
    assert prices.ceiling("ollama", "llama3", 10, 10, NOW) == 0


def test_a_provider_s_own_word_is_taken_where_it_is_given():
    prices = CatalogPrices(())
    trusted = prices.price("openrouter", ("openai/gpt-4o",), USED, NOW, 7)
    assert (trusted.cost, trusted.ref, trusted.rates) == (7, "provider", b"")
    assert prices.price("openrouter", ("openai/gpt-4o",), USED, NOW, None).cost > 7


def test_tiers_of_service_have_their_own_price():
    plain = cost("openai", "gpt-4.1")
    assert cost("openai", "gpt-4.1", extra=Extra("default")) == plain
    assert cost("openai", "gpt-4.1", extra=Extra("priority")) > plain
    assert cost("openai", "gpt-5", extra=Extra("flex")) < cost("openai", "gpt-5")
    assert cost("anthropic", "claude-fable-5-2", extra=Extra("fast")) > cost(
        "anthropic", "claude-fable-5-2"
    )
    ceiling = PRICES.ceiling("openai", "gpt-4.1", 1000, 50, NOW, "priority")
    assert ceiling > PRICES.ceiling("openai", "gpt-4.1", 1000, 50, NOW)
    # What was asked for need not be given.
    assert PRICES.ceiling("openai", "gpt-5", 9, 9, NOW, "flex") == PRICES.ceiling(
        "openai", "gpt-5", 9, 9, NOW
    )
    assert PRICES.ceiling("azure", "gpt-4.1", 1000, 50, NOW, "priority") is not None


def test_searches_of_the_provider_cost():
    with_two = cost("anthropic", "claude-sonnet-4-5", extra=Extra(web_searches=2))
    assert with_two - cost("anthropic", "claude-sonnet-4-5") == USD // 50


def test_counts_that_contradict_one_another_are_priced_as_the_nearest_that_can_be():
    assert cost("openai", "gpt-5.5", usage=Usage(10, 99)) == cost(
        "openai", "gpt-5.5", usage=Usage(10, 10)
    )


def test_the_names_of_models_that_are_kept_are_bounded():
    prices = CatalogPrices(())
    for number in range(module.KNOWN_MAX + 10):
        prices.ceiling("avian", f"made-up-{number}", 1, 1, NOW)
    assert len(prices._known) <= module.KNOWN_MAX


def every_price():
    """Of all models in the catalog that have rates here, at each of their times."""
    PRICES.load()
    for provider in module._catalog()[0]:
        for model in provider.models:
            conditional = model.prices if isinstance(model.prices, list) else [model]
            for price in conditional:
                found = price.prices
                tariff = tariff_of(found)
                if tariff is not None:
                    yield f"{provider.id}/{model.id}", found, tariff


def usages(tariff):
    """Around each border of a tier, without cache and with all kinds of it."""
    borders = {rates.above for rates in tariff.tiers}
    for size in sorted({1000, 2_000_000} | borders | {border + 1 for border in borders}):
        yield Usage(size, output_tokens=777, reasoning_tokens=70)
        yield Usage(size, size // 2, size // 4, size // 8, 777)


def test_every_model_costs_what_the_catalog_itself_computes():
    """All models, tiers and times; ours is rounded up."""
    from genai_prices import Usage as Theirs

    compared, other = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, price, tariff in every_price():
            read, plain = price.cache_read_mtok, price.input_mtok
            dearer = isinstance(read, Decimal) and isinstance(plain, Decimal) and read > plain
            for used in usages(tariff):
                if dearer and used.cache_read_tokens:
                    continue  # the catalog's mistake: reading from the cache never costs more (P7)
                theirs = Theirs(
                    input_tokens=used.input_tokens,
                    cache_read_tokens=used.cache_read_tokens,
                    cache_write_tokens=used.cache_write_tokens,
                    cache_write_1h_tokens=used.cache_write_1h_tokens,
                    output_tokens=used.output_tokens,
                    output_reasoning_tokens=used.reasoning_tokens,
                )
                exact = price.calc_price(theirs)["total_price"] * USD
                compared += 1
                # Rates are rounded up, too: some have traces of a float beyond the ninth decimal.
                traces = Decimal(used.input_tokens + used.output_tokens) / 1_000_000
                if not 0 <= tariff.cost(used) - exact <= 1 + traces:
                    other.append((name, used, tariff.cost(used), exact))
    assert compared > 9_000
    assert other == []


def test_no_model_costs_more_than_its_ceiling_at_any_tier():
    tiered = 0
    for name, _, tariff in every_price():
        tiered += len(tariff.tiers) > 1
        for used in usages(tariff):
            most = tariff.ceiling(used.input_tokens, used.output_tokens)
            assert tariff.cost(used) <= most, name
    assert tiered > 100


def test_the_catalog_is_not_imported_before_it_is_needed():
    code = (
        "import sys; from agenthub.outbound.prices import CatalogPrices; "
        "CatalogPrices(()); sys.exit('genai_prices' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
