"""What one attempt costs: of a model by its tokens, of a tool by its price.

    before it is sent ── ceiling ──► the most that it may cost, which is held
    when it is over ──── spent ────► what it cost, and how that is known; nothing, if it never ran

A model's quote is its input, guessed from its bytes and its pictures, and a *slice* of output. A
tool costs what its operator says that each call costs, unless its result says so itself.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from agenthub.domain.content import Content
from agenthub.domain.journey import Hop
from agenthub.domain.judge import judge
from agenthub.domain.money import NanoUsd
from agenthub.domain.outcome import Certainty, Ending, Reply, Written
from agenthub.domain.price import PLAIN, CallPrice, Extra
from agenthub.domain.usage import Basis, Usage
from agenthub.ledger import Prices
from agenthub.wire.llm.picture import NO_PICTURES, Pictures

SLICE: Final = 4_096
"""Tokens of output that a stream holds at a time."""
WHOLE: Final = 16_384
"""Tokens of output that are held for an answer that comes in one piece, unless it asks for less."""
BYTES_PER_TOKEN: Final = 3
"""Of input; texts have more in all languages, so the guess is an upper one."""
OVERHEAD_TOKENS: Final = 16
"""Around a prompt: roles, separators."""
NO_USAGE: Final = Usage()
NOT_RUN: Final = frozenset({
    Certainty.NOT_SENT, Certainty.REFUSED, Certainty.INPUT_REQUIRED
})  # fmt: skip
"""A tool that asks first has done nothing yet: the round that has its answer is paid."""


class Spent(Struct, frozen=True):
    """What one attempt cost."""

    cost: NanoUsd
    basis: Basis
    usage: Usage = NO_USAGE
    model: str = ""
    ref: str = ""
    """Where the price is from."""
    rates: bytes = b""


class Meter(Protocol):
    """Reads what the attempts of one call cost."""

    def ceiling(self, hops: Sequence[Hop], output: int) -> NanoUsd | None:
        """The most that an attempt with so much output may cost; None: it may have no price."""
        ...

    def spent(self, hop: Hop, reply: Reply) -> Spent | None:
        """What an attempt cost that is over; None: surely nothing."""
        ...


class ToolMeter:
    """Of a call of a tool; the prices stand in the records of the servers."""

    def ceiling(self, hops: Sequence[Hop], output: int = 0) -> NanoUsd:
        del output
        return max((hop.price.each for hop in hops if hop.price is not None), default=0)

    def spent(self, hop: Hop, reply: Reply) -> Spent | None:
        price, certainty = hop.price, judge(reply, None).certainty
        if price is None or certainty in NOT_RUN:
            return None
        if certainty is Certainty.UNKNOWN:
            return Spent(price.each, Basis.ESTIMATED, ref="each")
        said = _said(price, reply.result) if price.pointer else None
        if said is None:
            return Spent(price.each, Basis.FIXED, ref="each")
        return Spent(said, Basis.PROVIDER, ref="result")


def _said(price: CallPrice, result: bytes) -> NanoUsd | None:
    try:
        return price.said(msgspec.json.decode(result))
    except (ValueError, RecursionError):
        # Nested deeper than anybody needs; what is relayed is not read otherwise.
        return None


class ModelMeter:
    """Of a call of a language model."""

    def __init__(self, prices: Prices, content: Content, at_s: int) -> None:
        self._prices, self._content, self._at_s = prices, content, at_s
        self.fallback: NanoUsd | None = None
        """The price that stands for a missing one."""

    def ceiling(self, hops: Sequence[Hop], output: int) -> NanoUsd | None:
        content = self._content
        asked: list[NanoUsd] = []
        for hop in hops:
            llm = hop.lane.endpoint.llm
            if llm is None or llm.is_free:
                continue
            written = output if llm.output_max is None else min(output, llm.output_max)
            most = self._prices.ceiling(
                llm.provider,
                hop.name,
                input_of(content, hop.name),
                written,
                self._at_s,
                service_of(content),
            )
            if most is None:
                return None
            asked.append(most)
        return max(asked, default=0)

    def spent(self, hop: Hop, reply: Reply) -> Spent | None:
        content, seen = self._content, reply.seen
        refused = reply.ending in {Ending.ERROR, Ending.STATUS}
        nothing = seen is None or (seen.usage is None and not seen.counted)
        if reply.written is Written.NONE or (refused and nothing):
            return None
        if seen is None:
            usage = Usage(input_of(content, hop.name), output_tokens=output_of(content))
            return self._price(hop, usage, Basis.ESTIMATED, "", None)
        usage, basis = seen.booked(input_of(content, hop.name))
        return self._price(hop, usage, basis, seen.model, seen.reported, seen.extra)

    def _price(
        self,
        hop: Hop,
        usage: Usage,
        basis: Basis,
        model: str,
        reported: NanoUsd | None,
        extra: Extra = PLAIN,
    ) -> Spent:
        llm = hop.lane.endpoint.llm
        assert llm is not None, "a model is asked of a provider"
        usage, served = usage.sound(), model or hop.name
        if llm.is_free:
            return Spent(0, Basis.FIXED, usage, served)
        trusted = reported if llm.trusts_cost else None
        names = tuple(dict.fromkeys(filter(None, (model, hop.name))))
        priced = self._prices.price(llm.provider, names, usage, self._at_s, trusted, extra)
        if priced is not None:
            return Spent(priced.cost, basis, usage, served, priced.ref, priced.rates)
        if self.fallback is not None:
            return Spent(self.fallback, Basis.FIXED, usage, served, "fallback")
        return Spent(0, Basis.UNPRICED, usage, served)


def input_of(content: Content, model: str) -> int:
    """Tokens of input at most, guessed: of its pictures by their pixels, else by its bytes."""
    pictures: Pictures = getattr(content.request, "pictures", NO_PICTURES)
    size = len(content.body) - pictures.size
    return -(-size // BYTES_PER_TOKEN) + OVERHEAD_TOKENS + pictures.tokens_for(model)


def service_of(content: Content) -> str:
    """The tier of service that is asked for."""
    return getattr(content.request, "service", "")


def output_of(content: Content) -> int:
    """Tokens of output that are held at first."""
    most = SLICE if content.stream else WHOLE
    return most if content.output_max is None else min(content.output_max, most)
