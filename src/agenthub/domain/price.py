"""What a call costs, by whole numbers: tokens times rates, rounded up once.

    usage ──► each token in one class ──► times its rate ──► sum ──► rounded up to a nano-dollar
              (parts are taken out of their whole)

A provider that charges more for long inputs has one `Rates` per tier; crossing a tier prices all
tokens of the call by it. Reading from the cache never costs more than the same input uncached;
writing to it may, as Anthropic bills it.

Source: rule P7; genai-prices, `types.TieredPrices` (cliff tiers), for what tiers mean.
"""

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from msgspec import Struct

from agenthub.domain.errors import BadSetting
from agenthub.domain.money import MAX, USD, NanoUsd
from agenthub.domain.usage import Usage

PER: Final = 1_000_000
"""Tokens that a rate is for."""
RATE_MAX: Final[NanoUsd] = 1_000_000 * USD
"""Of a million tokens. With `TOKENS_MAX` a cost stays within 64 bits before it is capped."""
ANY: Final = "*"
"""Any model, in an override."""
POINTER_STEPS_MAX: Final = 32
AMOUNT_CHARACTERS_MAX: Final = 64


class Extra(Struct, frozen=True, omit_defaults=True):
    """What a provider bills beside the tokens of `Usage`, or by which it bills them."""

    service: str = ""
    """`priority`, `flex`, `fast`: the tier of service that the provider says it gave."""
    output_image_tokens: int = 0
    """Part of the output."""
    web_searches: int = 0


PLAIN: Final = Extra()


class Rates(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Prices in nano-dollars per million tokens. None: what the whole costs, of which it is part.

    `__post_init__` refuses rates below 0, above `RATE_MAX`, and a cache read dearer than input.
    """

    input: NanoUsd
    output: NanoUsd
    cache_read: NanoUsd | None = None
    cache_write: NanoUsd | None = None
    cache_write_1h: NanoUsd | None = None
    """None: as `cache_write`."""
    input_audio: NanoUsd | None = None
    output_audio: NanoUsd | None = None
    output_image: NanoUsd | None = None
    reasoning: NanoUsd | None = None
    request: NanoUsd = 0
    """Of each call, whatever it used."""
    web_search: NanoUsd = 0
    """Of each search that the provider made for the call."""
    above: int = 0
    """These are for calls with more input tokens than that."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= RATE_MAX:
                raise BadSetting(f"{name}: expected from $0 to ${RATE_MAX // USD} per million")
        if self.cache_read is not None and self.cache_read > self.input:
            raise BadSetting("cache_read: expected at most what uncached input costs")

    def cost(self, usage: Usage, extra: Extra = PLAIN) -> NanoUsd:
        """What so much costs at these rates."""
        fine = self._input(usage) + self._output(usage, extra)
        whole = -(-fine // PER) + self.request + extra.web_searches * self.web_search
        return min(whole, MAX)

    def _input(self, usage: Usage) -> int:
        read, written = usage.cache_read_tokens, usage.cache_write_tokens
        hour = usage.cache_write_1h_tokens
        left = usage.input_tokens - read - written
        # Audio that is said twice, as cached too, is cached.
        audio = max(0, min(usage.input_audio_tokens, left))
        write = _or(self.cache_write, self.input)
        return (
            (left - audio) * self.input
            + audio * _or(self.input_audio, self.input)
            + read * _or(self.cache_read, self.input)
            + (written - hour) * write
            + hour * _or(self.cache_write_1h, write)
        )

    def _output(self, usage: Usage, extra: Extra) -> int:
        left = usage.output_tokens
        image = min(extra.output_image_tokens, left)
        audio = min(usage.output_audio_tokens, left - image)
        reasoning = min(usage.reasoning_tokens, left - image - audio)
        return (
            (left - image - audio - reasoning) * self.output
            + image * _or(self.output_image, self.output)
            + audio * _or(self.output_audio, self.output)
            + reasoning * _or(self.reasoning, self.output)
        )

    def ceiling(self, input_tokens: int, output_tokens: int) -> NanoUsd:
        """The most that a call may cost which uses no more, in whatever classes."""
        dear_in = max(
            self.input, self.cache_write or 0, self.cache_write_1h or 0, self.input_audio or 0
        )
        dear_out = max(
            self.output, self.output_audio or 0, self.output_image or 0, self.reasoning or 0
        )
        fine = input_tokens * dear_in + output_tokens * dear_out
        return min(-(-fine // PER) + self.request, MAX)


def _or(rate: NanoUsd | None, whole: NanoUsd) -> NanoUsd:
    return whole if rate is None else rate


FREE: Final = Rates(input=0, output=0)


class Tariff(Struct, frozen=True):
    """The rates of one model, by how long the input is. Raises BadSetting if they have no order."""

    tiers: tuple[Rates, ...]
    """Ordered by `above`; the first is for any input."""

    def __post_init__(self) -> None:
        starts = [rates.above for rates in self.tiers]
        if not starts or starts[0] or starts != sorted(set(starts)):
            raise BadSetting("tiers: expected a first one above 0 tokens, then ever higher ones")

    def at(self, input_tokens: int) -> Rates:
        """The rates for a call with so much input."""
        return next(rates for rates in reversed(self.tiers) if self._reached(rates, input_tokens))

    def cost(self, usage: Usage, extra: Extra = PLAIN) -> NanoUsd:
        return self.at(usage.input_tokens).cost(usage, extra)

    def ceiling(self, input_tokens: int, output_tokens: int) -> NanoUsd:
        """The most that a call may cost which uses no more; a tier may be cheaper than one below.

        Searches that the provider makes are not in it: how many there will be nobody knows.
        """
        return max(
            rates.ceiling(input_tokens, output_tokens)
            for rates in self.tiers
            if self._reached(rates, input_tokens)
        )

    def _reached(self, rates: Rates, input_tokens: int) -> bool:
        return not rates.above or input_tokens > rates.above


class Override(Struct, frozen=True):
    """A price that the operator sets, from a moment on."""

    id: str
    """For the reference in the books: `override:ID`."""
    provider: str
    model: str
    """Its exact name, or `*`: every model of the provider that has none of its own."""
    tariff: Tariff
    from_s: int = 0


def overriding(
    overrides: Iterable[Override], provider: str, model: str, at_s: int
) -> Override | None:
    """The one that holds: for the model rather than for all, and of those the latest."""
    fitting = [
        override
        for override in overrides
        if override.provider == provider
        and override.model in (model, ANY)
        and override.from_s <= at_s
    ]
    return max(fitting, key=lambda one: (one.model != ANY, one.from_s), default=None)


class CallPrice(Struct, frozen=True, omit_defaults=True):
    """What a call of a tool costs: so much each, or what its result says."""

    each: NanoUsd
    """Also where the result does not say it."""
    pointer: str = ""
    """A JSON pointer (RFC 6901) into the result, to an amount in dollars; empty: there is none."""

    def __post_init__(self) -> None:
        if self.pointer and not self.pointer.startswith("/"):
            raise BadSetting('pointer: expected a JSON pointer, as "/usage/cost"')

    def said(self, result: Any) -> NanoUsd | None:
        """What the result says; None: nothing, or nothing that can be."""
        return nano_usd(_pointed(result, self.pointer)) if self.pointer else None


def _pointed(value: Any, pointer: str) -> Any:
    for step in pointer.split("/", POINTER_STEPS_MAX)[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 10:  # pyright: ignore[reportUnknownArgumentType]
            value = value[int(key)] if int(key) < len(value) else None  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        else:
            return None
    return value  # pyright: ignore[reportUnknownVariableType]


def nano_usd(dollars: Any) -> NanoUsd | None:
    """An amount that others wrote in dollars (a JSON number, a decimal text), rounded up.

    None: it is none, is below 0, or above `MAX`.
    """
    if isinstance(dollars, bool) or not isinstance(dollars, int | float | str | Decimal):
        return None
    if isinstance(dollars, str) and len(dollars) > AMOUNT_CHARACTERS_MAX:
        return None
    try:
        # The shortest text of a float is what was written.
        amount = Decimal(dollars if isinstance(dollars, int) else str(dollars)) * USD
    except ArithmeticError:
        return None
    if not amount.is_finite() or not 0 <= amount <= MAX:
        return None
    return int(amount.to_integral_value(ROUND_CEILING))
