"""Budgets: how much may be spent by whom in which time, and how close it is to that.

    spent ─► 0 … 90 % safe … 100 % warning … 110 % critical … blocked

Two rules, and they differ on purpose. The *level* is told by what is spent. *Admission* counts what
is held for calls under way too: a call gets in if spent + held + its own hold stay within the wall.
"""

from enum import Enum
from typing import Final

from msgspec import Struct

from agenthub.domain.account import Facts, HoldOn
from agenthub.domain.errors import BadSetting
from agenthub.domain.ladder import Step, check_ladder
from agenthub.domain.money import MAX, NanoUsd
from agenthub.domain.period import Period

SUBJECTS: Final = ("all", "key", "team", "model", "provider", "endpoint", "tool", "session")
EACH: Final = "*"
"""As the name of a session: each has a counter of its own."""
BELOW: Final = "\x01"
RATIO_MAX: Final = 1_000
NAME_MAX: Final = 200
REASON_MAX: Final = 500
REFUSE: Final = "refuse"
ALLOW: Final = "allow"


class Level(Enum):
    SAFE = "safe"
    WARNING = "warning"
    CRITICAL = "critical"
    BLOCKED = "blocked"


class Subject(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose spending a budget limits."""

    kind: str = "all"
    """all, key, team, model, provider, endpoint, tool or session."""
    name: str = ""
    """Empty for `all`; of a session `*` stands for each one."""

    def concerns(self, facts: Facts) -> bool:
        """Whether a call with these facts counts."""
        if self.kind == "all":
            return True
        name: str = getattr(facts, self.kind)
        return bool(name) and self.name in {name, EACH}


class Budget(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A limit on what is spent. Ratios are in per cent of the limit."""

    id: str
    limit: NanoUsd
    name: str = ""
    subject: Subject = Subject()
    period: Period = Period()
    warning: int = 90
    critical: int = 100
    blocked: int = 110
    on_unpriced: str | NanoUsd = REFUSE
    """What becomes of a call without a price: `refuse`, `allow`, or a price to hold and book."""
    created_at: int = 0
    suspended_until: int = 0
    """Until then it blocks nothing; it goes on counting. Seconds since 1970."""
    reason: str = ""
    """Why it is suspended."""
    ladder: tuple[Step, ...] = ()
    """What is done to calls before they are refused."""

    @property
    def wall(self) -> NanoUsd:
        """Up to here calls get in."""
        return self.limit * self.blocked // 100

    def check(self) -> None:
        """Raises BadSetting, in words."""
        subject, session = self.subject, self.subject.kind == "session"
        if subject.kind not in SUBJECTS:
            raise BadSetting(
                f"subject.kind is {subject.kind!r}; it is one of {', '.join(SUBJECTS)}"
            )
        if (subject.kind == "all") != (not subject.name):
            raise BadSetting("subject.name says which; it is empty for `all`, and only there")
        if subject.name == EACH and not session:
            raise BadSetting("subject.name `*` stands for each session, and for nothing else")
        if self.period.kind == "run" and not session:
            raise BadSetting("The period `run` is for sessions: set subject.kind to session")
        self.period.check()
        if not 0 <= self.limit <= MAX:
            raise BadSetting(f"limit is from 0 to {MAX} nano-dollars")
        if not 0 < self.warning <= self.critical <= self.blocked <= RATIO_MAX:
            raise BadSetting(
                f"warning, critical and blocked are per cent, from 1 to {RATIO_MAX}, in this order"
            )
        fallback = self.on_unpriced
        if not (fallback in {REFUSE, ALLOW} if isinstance(fallback, str) else 0 <= fallback <= MAX):
            raise BadSetting("on_unpriced is `refuse`, `allow`, or a price in nano-dollars")
        self._check_names()
        check_ladder(self.ladder, self.blocked, is_each=subject.name == EACH)
        if len(self.reason) > REASON_MAX:
            raise BadSetting(f"reason has at most {REASON_MAX} characters")

    def _check_names(self) -> None:
        if not self.id or max(map(len, (self.id, self.name, self.subject.name))) > NAME_MAX:
            raise BadSetting(f"id, name and subject.name have at most {NAME_MAX} characters")
        if not self.id.isprintable() or "/" in self.id or self.id in {".", ".."}:
            # It is a part of addresses: what could not be asked for could not be taken back.
            raise BadSetting("id: expected printable characters without `/`")

    def hold_on(self, facts: Facts, at_s: int) -> HoldOn:
        """The counter that a call with these facts, begun then, goes to."""
        window = self.period.window(at_s)
        key, first = window.key, window.first
        if self.subject.name == EACH:
            # In front, and ended by what sorts before all else: a rolling window takes the counters
            # between two keys, and those are one session's.
            session = facts.session[:NAME_MAX].replace(BELOW, " ") + BELOW
            key, first = session + key, session + first
        return HoldOn(self.id, key, first, window.starts_at, window.ends_at)

    def level(self, settled: NanoUsd, credit: NanoUsd = 0) -> Level:
        """How close what is spent is to the limit, with what was credited to this window."""
        hundredfold, limit = settled * 100, self.limit + credit
        if hundredfold < limit * self.warning:
            return Level.SAFE
        if hundredfold < limit * self.critical:
            return Level.WARNING
        return Level.CRITICAL if hundredfold < limit * self.blocked else Level.BLOCKED


DEFAULT: Final = Budget("default", 100_000_000_000, "Everything")
"""A new home has it; it may be changed and deleted."""
