"""Prices in the settings: which one counts when, and how a wrong one is told."""

from datetime import UTC, datetime

import pytest
import yaml

from agenthub.domain.errors import BadSetting
from agenthub.domain.money import USD
from agenthub.domain.usage import Usage
from agenthub.outbound.prices import CatalogPrices
from agenthub.settings import load
from agenthub.settings.prices import PRICES_MAX, Price, overrides_of

MILLION = Usage(1_000_000, 500_000, output_tokens=1_000_000)
"""Half of the input came out of the cache."""
OURS = {"provider": "openai", "model": "gpt-5.5", "input": "2.00", "output": "8.00"}


def prices(tmp_path, *rows):
    file = tmp_path / "agenthub.yaml"
    file.write_text(yaml.safe_dump({"prices": list(rows)}))
    return CatalogPrices(overrides_of(load(file, {}).prices))


def at(year, month, day):
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


TODAY = at(2026, 11, 30)


def costs(prices, model="gpt-5.5", when=TODAY):
    priced = prices.price("openai", (model,), MILLION, when, None)
    return priced.ref, priced.cost


def test_a_price_of_the_file_outweighs_the_catalog(tmp_path):
    assert costs(prices(tmp_path, OURS)) == ("override:1", 10 * USD)


def test_what_comes_out_of_the_cache_and_the_call_itself_may_have_prices_too(tmp_path):
    row = OURS | {"cache_read": "0.50", "cache_write": "3.00", "request": "0.01"}
    of_cache, of_calls = 250_000_000, USD // 100
    assert costs(prices(tmp_path, row))[1] == USD + of_cache + 8 * USD + of_calls


def test_a_price_for_all_models_of_a_provider_yields_to_one_of_a_models_own(tmp_path):
    two = prices(tmp_path, OURS | {"model": "*", "input": "90.00"}, OURS)
    assert costs(two)[0] == "override:2"
    assert costs(two, "anything")[0] == "override:1"


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        (at(2026, 11, 29), "override:1"), (at(2026, 12, 1) - 1, "override:1"),
        (at(2026, 12, 1), "override:2"), (at(2027, 1, 1), "override:3"),
    ],
)  # fmt: skip
def test_the_latest_price_that_has_begun_counts(tmp_path, when, counts):
    rows = [OURS, OURS | {"since": "2026-12-01"}, OURS | {"since": "2027-01-01"}]
    assert costs(prices(tmp_path, *rows), when=when)[0] == counts


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"since": "tomorrow"}, r"prices\.2\.since: expected a day, as 2026-11-30, got 'tomorrow'"),
        ({"since": "2026-02-30"}, r"prices\.2\.since: expected a day.*got '2026-02-30'"),
        ({"input": "-1.00"}, r"prices\.2\.input: "),
        ({"output": "1e3"}, r"prices\.2\.output: "),
        ({"cache_read": "free"}, r"prices\.2\.cache_read: "),
        ({"cache_write": "NaN"}, r"prices\.2\.cache_write: "),
        ({"request": "1.0000000001"}, r"prices\.2\.request: "),
    ],
)
def test_a_price_that_cannot_be_is_refused_by_its_number(tmp_path, wrong, said):
    with pytest.raises(BadSetting, match=said):
        prices(tmp_path, OURS, OURS | wrong)


def test_prices_are_not_without_end():
    row = Price("p", "m")
    assert len(overrides_of([row] * PRICES_MAX)) == PRICES_MAX
    with pytest.raises(BadSetting, match="expected at most 10000, got 10001"):
        overrides_of([row] * (PRICES_MAX + 1))
