"""The ladder before the wall: what becomes of calls when a budget is nearly used up.

    spent  ──────────── 80 % ──────────────── 95 % ─────────── 110 %
    calls    as asked    │ a cheaper model     │ and shorter    │ refused

A step begins at a per cent of the limit and goes on to the wall; what a later one does not say
holds from an earlier one. Of several budgets that a call is under, the shortest answer and the
model of the one that is most used up count.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from agenthub.domain.errors import BadSetting

STEPS_MAX: Final = 5
NAME_MAX: Final = 256
TOKENS_MAX: Final = 10_000_000


class Step(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From so much of the limit on."""

    at: int
    """Per cent of the limit that are spent."""
    use: str = ""
    """The model that is asked instead, or the alias of some; empty: the one that was asked for."""
    max_tokens: int | None = None
    """Tokens of output at most, in each answer; null: as asked."""


class Easing(Struct, frozen=True):
    """What is done to one call."""

    budget: str
    """The one that is most used up."""
    use: str
    max_tokens: int | None

    def shown(self) -> str:
        """For a header."""
        said = [f"budget={self.budget}"]
        said += [f"use={self.use}"] if self.use else []
        said += [f"max_tokens={self.max_tokens}"] if self.max_tokens is not None else []
        return "; ".join(said)


def check_ladder(ladder: Sequence[Step], blocked: int, *, is_each: bool) -> None:
    """`is_each`: of a budget that has a counter for each session. Raises BadSetting, in words."""
    if ladder and is_each:
        raise BadSetting("ladder: a budget of each session has none, for it has many counters")
    if len(ladder) > STEPS_MAX:
        raise BadSetting(f"ladder: expected at most {STEPS_MAX} steps")
    before = 0
    for step in ladder:
        if not before < step.at < blocked:
            raise BadSetting(
                f"ladder.at: expected per cent of the limit, from 1 to {blocked - 1} and rising"
            )
        if len(step.use) > NAME_MAX or not step.use.isprintable():
            raise BadSetting("ladder.use: expected a model's name, or an alias")
        if step.max_tokens is not None and not 1 <= step.max_tokens <= TOKENS_MAX:
            raise BadSetting(f"ladder.max_tokens: expected from 1 to {TOKENS_MAX}")
        if not step.use and step.max_tokens is None:
            raise BadSetting("ladder: a step says `use` or `max_tokens`, or both")
        before = step.at


def eased(budgets: Iterable[tuple[str, Sequence[Step], int]]) -> Easing | None:
    """Of the budgets that a call is under: id, ladder, and per cent that are spent."""
    use = budget = ""
    tokens: int | None = None
    for name, ladder, spent in sorted(budgets, key=lambda one: -one[2]):
        reached = [step for step in ladder if spent >= step.at]
        if not reached:
            continue
        budget = budget or name
        use = use or next((step.use for step in reversed(reached) if step.use), "")
        said = next((s.max_tokens for s in reversed(reached) if s.max_tokens is not None), None)
        if said is not None:
            tokens = said if tokens is None else min(tokens, said)
    return Easing(budget, use, tokens) if budget else None
