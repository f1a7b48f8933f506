"""What a call of a language model carries: the client's own bytes, and whom they are for."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from agenthub.domain.errors import BadSetting

TARGETS_MAX: Final = 10
NAME_MAX: Final = 256
"""Of a model."""


class Target(Struct, frozen=True):
    """A model at a provider."""

    endpoint: str
    model: str
    """As the provider calls it."""


class Content(Struct, frozen=True):
    """One request to a model, on its way through the hub."""

    wire: str
    """See `domain.provider`."""
    path: str
    """Below the provider's address, where the wire usually is; `{model}` stands for the model."""
    query: str
    """To be added to the address; without `?`."""
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Of the client's, those that are for the provider."""
    stream: bool
    output_max: int | None
    """Tokens of output that the client asked for at most; None: it named no bound."""
    is_free: bool
    """Whether providers take no money for it, as for counting tokens."""
    targets: tuple[Target, ...]
    """In the order in which they are asked."""
    hops: int = 0
    """How many hubs it came through before this one."""
    session: str = ""
    """Of the agent that asks, as its client names it; empty: it named none."""
    request: Any = None
    """What the door has read of the body (wire/llm)."""
    eased: str = ""
    """What a budget's ladder has done to it, for the client to see; empty: nothing."""


def targets_of(name: str, written: Sequence[str]) -> tuple[Target, ...]:
    """Raises BadSetting unless each is `endpoint/model`."""
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or "/" in name:
        raise BadSetting(f"name: expected a model's name without `/`, got {name[:64]!r}")
    if not 0 < len(written) <= TARGETS_MAX:
        raise BadSetting(f"targets: expected 1 to {TARGETS_MAX} of endpoint/model")
    targets: list[Target] = []
    for one in written:
        endpoint, slash, model = one.partition("/")
        if not slash or not endpoint or not model or len(one) > NAME_MAX:
            raise BadSetting(f"targets: expected endpoint/model, got {one[:64]!r}")
        targets.append(Target(endpoint, model))
    return tuple(targets)
