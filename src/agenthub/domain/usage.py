"""What a call used, in the same words for every provider, and how its cost came to be known."""

from enum import Enum
from typing import Final

from msgspec import Struct

TOKENS_MAX: Final = 1_000_000_000
"""Of one count. More in one call is a provider's mistake."""


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one call. Parts are contained in their whole, never beside it."""

    input_tokens: int = 0
    """All input, with what was read from and written to the cache."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Part of `cache_write_tokens`: kept for an hour, which costs more."""
    output_tokens: int = 0
    """All output, with the reasoning."""
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether such counts can be."""
        whole_in, whole_out = self.input_tokens, self.output_tokens
        return (
            0 <= whole_in <= TOKENS_MAX
            and 0 <= whole_out <= TOKENS_MAX
            and self.cache_read_tokens >= 0
            and 0 <= self.cache_write_1h_tokens <= self.cache_write_tokens
            and self.cache_read_tokens + self.cache_write_tokens <= whole_in
            and 0 <= self.reasoning_tokens <= whole_out
            and 0 <= self.input_audio_tokens <= whole_in
            and 0 <= self.output_audio_tokens <= whole_out
        )

    def sound(self) -> "Usage":
        """The nearest usage that can be: counts from 0 to `TOKENS_MAX`, no part above its whole.

        What cannot be is a provider's mistake, and must not stop that the call is booked.
        """
        if self.is_sound:
            return self
        whole_in, whole_out = _within(self.input_tokens), _within(self.output_tokens)
        read = _within(self.cache_read_tokens, whole_in)
        written = _within(self.cache_write_tokens, whole_in - read)
        return Usage(
            whole_in,
            read,
            written,
            _within(self.cache_write_1h_tokens, written),
            whole_out,
            _within(self.reasoning_tokens, whole_out),
            _within(self.input_audio_tokens, whole_in),
            _within(self.output_audio_tokens, whole_out),
        )


def _within(count: int, most: int = TOKENS_MAX) -> int:
    return max(0, min(count, most))


class Basis(Enum):
    """How a cost is known."""

    PROVIDER = "provider"
    """The usage came whole from the provider."""
    PARTIAL = "partial"
    """The stream was cut, or the client left: what was seen was counted."""
    ESTIMATED = "estimated"
    """The provider said nothing of usage."""
    EXPIRED = "expired"
    """Whoever had the call died: all that was held counts as spent."""
    FIXED = "fixed"
    """A price per call."""
    UNPRICED = "unpriced"
    """There is no price for it: the cost is not known, and not nothing."""
    INGESTED = "ingested"
    """Reported by a program that called the provider itself."""


SURE: Final = frozenset({Basis.PROVIDER, Basis.FIXED})
"""Nothing that comes later is better evidence."""
GUESSED: Final = frozenset({Basis.PARTIAL, Basis.ESTIMATED, Basis.EXPIRED})
"""The cost is the hub's own estimate."""
