"""What was seen of a provider's answer, and what can be booked of it.

An answer that ended as it should and told its usage is booked as the provider says. Of one that
was cut, the input is known or guessed, and the output is at least what had come. Usage that cannot
be (negative, a fraction, beyond all measure) is none.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec import Raw, Struct

from agenthub.domain.money import NanoUsd
from agenthub.domain.price import PLAIN, Extra
from agenthub.domain.usage import TOKENS_MAX, Basis, Usage

BYTES_PER_TOKEN: Final = 3
"""Fewer than texts have: English about 4, Korean 3. So a guess is rather too high."""
SAID_DEPTH: Final = 16
"""Objects and lists inside one another in which words are looked for."""
NO_ERROR: Final = frozenset({b"", b"null"})
_SILENT: Final = frozenset({
    "role", "type", "id", "name", "index", "call_id", "item_id", "signature", "thoughtSignature",
    "encrypted_content", "inlineData", "inline_data", "finish_reason", "citation", "annotations",
    "status",
})  # fmt: skip
"""Members of what a model says that are not its own words."""


class BadUsage(ValueError):
    """The provider's counts cannot be."""


class Seen(Struct, frozen=True):
    """Of one answer, or of as much of it as came."""

    usage: Usage | None = None
    """As the provider said; of a stream that was cut, as far as it had said."""
    extra: Extra = PLAIN
    model: str = ""
    """The one that answered, in the provider's own words."""
    complete: bool = False
    """Whether it ended as such an answer ends: `[DONE]`, `message_stop`, `response.completed`."""
    error: bytes = b""
    """Raw JSON; a stream may bring one after a 200."""
    counted: int = 0
    """Bytes of text that the model wrote, as far as they came."""
    reported: NanoUsd | None = None
    """What the provider says that it cost."""
    bad_usage: bool = False
    """There was usage, but it cannot be."""
    rest: bytes = b""
    """Of a stream: what was held back and still belongs to the client."""

    def booked(self, input_tokens: int) -> tuple[Usage, Basis]:
        """What to charge for, and how that is known; `input_tokens`: as they are guessed."""
        if self.complete and self.usage is not None:
            return self.usage, Basis.PROVIDER
        known = self.usage or Usage()
        guess = Usage(
            max(known.input_tokens, 0 if self.usage else input_tokens),
            known.cache_read_tokens,
            known.cache_write_tokens,
            known.cache_write_1h_tokens,
            max(known.output_tokens, guessed_output(self.counted)),
            known.reasoning_tokens,
            known.input_audio_tokens,
            known.output_audio_tokens,
        ).sound()
        return guess, Basis.ESTIMATED if self.complete else Basis.PARTIAL


def guessed_output(text_bytes: int) -> int:
    return -(-text_bytes // BYTES_PER_TOKEN)


class Tally(ABC):
    """Gathers what is seen. Each dialect has its own kind, which says how to read it."""

    __slots__ = (
        "complete", "counted", "error", "images", "model", "searches", "service", "told",
    )  # fmt: skip

    def __init__(self) -> None:
        self.told: Any = None
        """The usage as it was said last."""
        self.model = ""
        self.complete = False
        self.error = b""
        self.counted = 0
        self.service = ""
        self.images = 0
        self.searches = 0

    @abstractmethod
    def take(self, data: bytes) -> bool:
        """Read one event's data. Returns whether it says nothing but the usage."""
        ...

    @abstractmethod
    def answer(self, body: bytes) -> None:
        """Read a whole answer."""
        ...

    @abstractmethod
    def read_usage(self, told: Mapping[str, Any]) -> Usage:
        """Raises BadUsage."""
        ...

    def large(self, head: bytes, tail: bytes) -> None:  # noqa: B027 - most have nothing to find
        """Of an event too large to be read, how it begins and ends."""

    def reported(self) -> NanoUsd | None:
        """What the provider says that it cost."""
        return None

    def name(self, model: Any, service: Any = None) -> None:
        if model and type(model) is str:
            self.model = model[:256]
        if service and type(service) is str:
            self.service = service[:32]

    def fail(self, error: bytes | Raw) -> None:
        text = bytes(error)
        if text not in NO_ERROR:
            self.error = text

    def seen(self, rest: bytes = b"") -> Seen:
        usage = None
        told: Any = self.told
        if isinstance(told, dict):
            with suppress(BadUsage):
                usage = self.read_usage(told)  # pyright: ignore[reportUnknownArgumentType]
        return Seen(
            usage,
            Extra(self.service, self.images, self.searches),
            self.model,
            self.complete,
            self.error,
            self.counted,
            self.reported(),
            told is not None and usage is None,
            rest,
        )


def count(counts: Mapping[str, Any], name: str) -> int:
    """One of the provider's counts; what is not there is 0. Raises BadUsage."""
    value = counts.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= TOKENS_MAX:
        raise BadUsage(name)
    return value


def needed(counts: Mapping[str, Any], name: str) -> int:
    """One that must be there. Raises BadUsage."""
    if counts.get(name) is None:
        raise BadUsage(name)
    return count(counts, name)


def part(counts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The details of a count; empty where there are none."""
    return members(counts.get(name))


def members(value: Any) -> Mapping[str, Any]:
    """Those of an object; none where there is no object."""
    return value if type(value) is dict else {}  # pyright: ignore[reportUnknownVariableType]


def objects(value: Any) -> list[dict[str, Any]]:
    """Those in a list; none where there is no list."""
    return [one for one in value if type(one) is dict] if type(value) is list else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def is_text(raw: bytes) -> bool:
    """Whether it is UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_bytes(said: Any, depth: int = SAID_DEPTH) -> int:
    """How much text there is in what a model said."""
    if type(said) is str:
        return len(said) if said.isascii() else len(said.encode("utf-8", "replace"))
    if not depth:
        return 0
    if type(said) is list:
        return sum(text_bytes(one, depth - 1) for one in said)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return sum(
        text_bytes(value, depth - 1) for name, value in members(said).items() if name not in _SILENT
    )
