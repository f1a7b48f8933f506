"""What models cost: the operator's overrides, then the provider's own word, then the catalog.

    override ──► reported, of a trusted provider ──► genai-prices ──► None: unpriced, never free

The catalog is the data of genai-prices, which ships with it; nothing is fetched. It is imported
with the first question that needs it (0.5 s, 20 MB): `load` does that ahead, in a thread. Its own
`calc_price` is not used, since it keeps each name that it is ever asked for, and stumbles over
counts that contradict one another; what is taken of it are the rates.

A model that is also billed by what no answer's usage says (hours, pages, characters, images as
input) has no price here. Not in a price: searches in the provider's file storage.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agenthub.domain.money import USD, NanoUsd
from agenthub.domain.price import (
    ANY,
    PLAIN,
    Extra,
    Override,
    Rates,
    Tariff,
    nano_usd,
    overriding,
)
from agenthub.domain.usage import Usage
from agenthub.ledger import Priced

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

KNOWN_MAX: Final = 1024
"""Models whose rates are kept; when there are more, all are forgotten and looked up again."""
SLOT_S: Final = 900
"""Prices by the hour of day change at quarters of an hour, if at all."""
BY_FIELD: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
    "reasoning": "output_reasoning_mtok",
}
EACH: Final = {"request": "requests_kcount", "web_search": "web_searches_kcount"}
"""Per thousand."""
BESIDE: Final = frozenset({"storage_searches_kcount", "cache_audio_read_mtok"})
"""Left out: not in any usage, or priced as cached text, since usage does not tell them apart."""
COUNTED: Final = {*BY_FIELD.values(), *EACH.values(), *BESIDE}


DEMO: Final = Override(
    "demo", "demo", ANY, Tariff((Rates(input=USD, output=5 * USD, cache_read=USD // 10),))
)
"""Of the model that ships with the hub: as a real one's, so that a budget can be lived through."""


class CatalogPrices:
    """Prices of models by provider; the provider's id is the catalog's, as `openai`, `x-ai`."""

    def __init__(self, overrides: Sequence[Override]) -> None:
        self._overrides = (*overrides, DEMO)
        self._known: dict[tuple[str, str, str, int], Tariff | None] = {}

    def reload(self, overrides: Sequence[Override]) -> None:
        self._overrides = (*overrides, DEMO)

    def load(self) -> None:
        """Import the catalog, which may be done in a thread of its own."""
        _catalog()

    def ceiling(
        self,
        provider: str,
        model: str,
        input_tokens: int,
        output_tokens: int,
        at_s: int,
        service: str = "",
    ) -> NanoUsd | None:
        override = overriding(self._overrides, provider, model, at_s)
        if override is not None:
            return override.tariff.ceiling(input_tokens, output_tokens)
        # The provider may give the ordinary service instead of the one asked for.
        tariffs = (self._tariff(provider, model, tier, at_s) for tier in {"", service})
        ceilings = [tariff.ceiling(input_tokens, output_tokens) for tariff in tariffs if tariff]
        return max(ceilings, default=None)

    def price(
        self,
        provider: str,
        models: Sequence[str],
        usage: Usage,
        at_s: int,
        reported: NanoUsd | None,
        extra: Extra = PLAIN,
    ) -> Priced | None:
        usage = usage.sound()
        for model in models:
            override = overriding(self._overrides, provider, model, at_s)
            if override is not None:
                return _priced(override.tariff, usage, extra, f"override:{override.id}")
        if reported is not None:
            return Priced(reported, "provider", b"")
        for model in models:
            tariff = self._tariff(provider, model, extra.service, at_s)
            if tariff is not None:
                return _priced(tariff, usage, extra, f"catalog:genai-prices {_catalog()[1]}")
        return None

    def _tariff(self, provider: str, model: str, service: str, at_s: int) -> Tariff | None:
        key = (provider, model, service, at_s // SLOT_S)
        if key not in self._known:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = _look_up(provider, model, service, at_s)
        return self._known[key]


def _priced(tariff: Tariff, usage: Usage, extra: Extra, ref: str) -> Priced:
    rates = tariff.at(usage.input_tokens)
    return Priced(rates.cost(usage, extra), ref, msgspec.json.encode(rates))


# ---------------------------------------------------------------- the catalog


def _catalog() -> tuple[list["Provider"], str]:
    """All providers, and the version of the data."""
    from genai_prices import __version__, data_snapshot  # noqa: PLC0415 - costs 0.5 s and 20 MB

    return data_snapshot.get_snapshot().providers, __version__


def _look_up(provider_id: str, model: str, service: str, at_s: int) -> Tariff | None:
    from genai_prices.data_snapshot import find_provider_by_id  # noqa: PLC0415 - see above

    providers, _ = _catalog()
    provider = find_provider_by_id(providers, provider_id)
    if provider is None:
        return None
    for name in _names(model):
        found = provider.find_model(name, all_providers=providers)
        if found is not None:
            return _rated(provider, found, service, datetime.fromtimestamp(at_s, UTC))
    return None


def _names(model: str) -> list[str]:
    """As it is, then without `[1m]`, then without what stands before each slash."""
    plain = model.partition("[")[0]
    parts = plain.split("/")
    return [model, *("/".join(parts[at:]) for at in range(len(parts)))]


def _rated(provider: "Provider", model: "ModelInfo", service: str, at: datetime) -> Tariff | None:
    own = any(model is one for one in provider.models)
    # A model of another provider has its prices, but not its tiers of service.
    context = {"service_tier": service, "speed": service} if service and own else None
    return tariff_of(model.get_prices(at, context))


def tariff_of(price: "ModelPrice") -> Tariff | None:
    """The rates that a price of the catalog means; None: it is billed by what usage has not."""
    said: dict[str, Any] = {name: value for name, value in vars(price).items() if value is not None}
    if "input_mtok" not in said or not COUNTED.issuperset(said):
        return None
    starts = {tier.start for value in said.values() for tier in getattr(value, "tiers", ())}
    return Tariff(tuple(_rates(said, above) for above in sorted({0, *starts})))


def _rates(said: dict[str, Any], above: int) -> Rates:
    fields = {
        field: nano_usd(_at(said[name], above)) for field, name in BY_FIELD.items() if name in said
    }
    each = {
        field: nano_usd(_at(said[name], above) / 1000) or 0
        for field, name in EACH.items()
        if name in said
    }
    if "cache_read" in fields:
        fields["cache_read"] = min(fields["cache_read"] or 0, fields["input"] or 0)
    return Rates(**{"output": 0, **fields, **each, "above": above})  # pyright: ignore[reportArgumentType]


def _at(value: Any, above: int) -> Decimal:
    """A price, or what it is for calls with more input tokens than that."""
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if reached else value.base
