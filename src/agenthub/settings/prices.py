"""What models cost, as an operator writes it into the settings: decimal texts in US dollars."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from agenthub.domain import money
from agenthub.domain.errors import BadSetting, InvalidParams
from agenthub.domain.money import NanoUsd
from agenthub.domain.price import Override, Rates, Tariff

PRICES_MAX: Final = 10_000
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)


class Price(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a model costs; it outweighs the catalog. Amounts are per million tokens."""

    provider: str
    """As in `llm.provider` of the endpoint."""
    model: str
    """As the provider calls it; `*`: every model of the provider that has no price of its own."""
    since: str = ""
    """The first day, in UTC, as 2026-11-30; empty: always. The latest one that has begun counts."""
    input: str = "0.00"
    output: str = "0.00"
    cache_read: str = ""
    """Empty: as `input`."""
    cache_write: str = ""
    """Empty: as `input`."""
    request: str = "0.00"
    """Of each call, beside its tokens."""


def overrides_of(prices: Sequence[Price]) -> tuple[Override, ...]:
    """Raises BadSetting, which names the price by its number, from 1."""
    if len(prices) > PRICES_MAX:
        raise BadSetting(f"prices: expected at most {PRICES_MAX}, got {len(prices)}")
    found: list[Override] = []
    for number, price in enumerate(prices, 1):
        try:
            tariff = Tariff((_rates(price),))
            override = Override(str(number), price.provider, price.model, tariff, _since(price))
        except BadSetting as error:
            raise BadSetting(f"prices.{number}.{error}") from None
        found.append(override)
    return tuple(found)


def _rates(price: Price) -> Rates:
    return Rates(
        input=_amount("input", price.input),
        output=_amount("output", price.output),
        cache_read=_amount("cache_read", price.cache_read) if price.cache_read else None,
        cache_write=_amount("cache_write", price.cache_write) if price.cache_write else None,
        request=_amount("request", price.request),
    )


def _amount(key: str, text: str) -> NanoUsd:
    try:
        return money.parse(text)
    except InvalidParams as error:
        raise BadSetting(f"{key}: {error}") from None


def _since(price: Price) -> int:
    """Seconds since 1970."""
    if not price.since:
        return 0
    day = _DAY.fullmatch(price.since)
    try:
        if day is not None:
            return int(datetime(*map(int, day.groups()), tzinfo=UTC).timestamp())
    except ValueError:
        pass
    raise BadSetting(f"since: expected a day, as 2026-11-30, got {price.since[:64]!r}")
