"""The ledger's writes, in the database process. Part of the script `database.py`: no imports.

Operations that came together share a transaction; where one of them does not fit, all are carried
out anew, each in a savepoint of its own. None looks at a clock; each may be told twice, and works
once. What the steps mean is told in domain/account.py; the sums follow by the triggers of
schema/0005_ledger.sql.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final, TypeAlias

    On: TypeAlias = tuple[str, str, str, int, int]
    """domain.account.HoldOn"""
    Refused: TypeAlias = tuple[str, int, int, int, int]
    """ledger.OverBudget"""

SURE: Final = ("provider", "fixed")


class Ledger:
    """Writes with the statements of `schema/ledger.sql`."""

    def __init__(self, db: sqlite3.Connection, sql: Mapping[str, str]) -> None:
        self._execute = db.execute
        self._executemany = db.executemany
        self._sql = sql
        self.operations: Mapping[str, Callable[..., object]] = {
            "reserve": self.reserve,
            "top_up": self.top_up,
            "move": self.move,
            "settle": self.settle,
            "release": self.release,
            "book": self.book,
            "credit": self.credit,
            "adjust": self.adjust,
            "recover": self.recover,
            "rebuild": self.rebuild,
            "put_budget": self.put_budget,
            "alerts_told": self.alerts_told,
            "lease_alert": self.lease_alert,
            "alert_over": self.alert_over,
            "alert_again": self.alert_again,
        }

    def reserve(
        self, hold: tuple[Any, ...], facts: tuple[str, ...], on: Sequence[On], now_s: int
    ) -> Refused | None:
        """None: it is held on all of them, or the call has a hold already."""
        windows = self._room(on, hold[4], now_s)
        if isinstance(windows, tuple):
            # Sent again, its own hold stands in its way.
            found = self._execute(self._sql["find_charge"], hold[:1]).fetchone()
            return None if found else windows
        self._put(hold, facts, windows)
        return None

    def _put(
        self, hold: tuple[Any, ...], facts: tuple[str, ...], windows: list[tuple[int, str]]
    ) -> None:
        """Does nothing for a call that is there."""
        made = self._execute(self._sql["new_charge"], (*hold, *facts))
        if made.rowcount:
            new = [(made.lastrowid, *one) for one in windows]
            self._executemany(self._sql["new_hold"], new)

    def _room(self, on: Sequence[On], more: int, now_s: int) -> list[tuple[int, str]] | Refused:
        """The counters, if so much more fits into each."""
        windows: list[tuple[int, str]] = []
        for budget, window, first, starts_at, ends_at in on:
            found = self._execute(self._sql["window"], (budget, window, first, now_s)).fetchone()
            number, reserved, settled, credit, wall = found
            if wall is not None and reserved + settled + more > wall + credit:
                return budget, ends_at, reserved, settled, wall + credit
            number = number or self._window((budget, window, first, starts_at, ends_at))
            windows.append((number, first))
        return windows

    def _window(self, on: On) -> int:
        """The id of a counter, made if it is not there."""
        budget, window, *_ = on
        found = self._execute(self._sql["window"], (budget, window, window, 0)).fetchone()[0]
        if found is None:
            found = self._execute(self._sql["new_window"], on).lastrowid
        assert found is not None
        return found

    def top_up(self, call: str, hold: int, now_s: int) -> Refused | None:
        """None: it holds so much in all, or it is over."""
        found = self._execute(self._sql["find_charge"], (call,)).fetchone()
        if found is None or found[1] != "reserved" or found[2] >= hold:
            return None
        on = self._execute(self._sql["windows_of"], found[:1]).fetchall()
        room = self._room(on, hold - found[2], now_s)
        if isinstance(room, tuple):
            return room
        self._execute(self._sql["raise_hold"], (found[0], hold))
        return None

    def move(self, call: str, provider: str, endpoint: str, model: str, off: Sequence[str]) -> None:
        found = self._execute(self._sql["find_charge"], (call,)).fetchone()
        if found is not None:
            self._execute(self._sql["move_charge"], (found[0], provider, endpoint, model))
            self._executemany(self._sql["take_off"], [(found[0], budget) for budget in off])

    def settle(
        self, call: str, cost: int, basis: str, rest: tuple[Any, ...],
        attempts: Sequence[tuple[Any, ...]],
    ) -> None:  # fmt: skip
        """`rest`: what `settle_charge` writes further, the end and the duration last."""
        sql, execute = self._sql, self._execute
        found = execute(sql["find_charge"], (call,)).fetchone()
        if found is None:
            ended, duration = rest[-2:]
            hold = (call, "", ended - duration, 0, 0)
            self._put(hold, ("",) * 8 + ("proxy",), [])
            found = execute(sql["find_charge"], (call,)).fetchone()
        number, state, _, before, known = found
        if state == "settled" and (known in SURE or basis not in SURE):
            return
        execute(sql["settle_charge"], (number, cost, basis, *rest))
        if state != "reserved":
            execute(sql["late_entry"], (call, cost - before, rest[-2] // 1_000_000))
            execute(sql["forget_attempts"], (number,))
        self._attempts(number, attempts)

    def release(self, call: str, attempts: Sequence[tuple[Any, ...]], now_s: int) -> None:
        found = self._execute(self._sql["find_charge"], (call,)).fetchone()
        if found is None or found[1] in {"settled", "released"}:
            return
        number, state, _, before, _ = found
        self._execute(self._sql["release_charge"], (number,))
        if state != "reserved":
            self._execute(self._sql["late_entry"], (call, -before, now_s))
            self._execute(self._sql["forget_attempts"], (number,))
        self._attempts(number, attempts)

    def _attempts(self, charge: int, attempts: Sequence[tuple[Any, ...]]) -> None:
        self._executemany(self._sql["new_attempt"], [(charge, *one) for one in attempts])

    def book(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Reports of others: how many were new."""
        new = 0
        for hold, facts, on, settlement in rows:
            if self._execute(self._sql["find_charge"], hold[:1]).fetchone() is None:
                self._put(hold, facts, [(self._window(one), one[2]) for one in on])
                self.settle(*settlement)
                new += 1
        return new

    def credit(self, token: str, on: On, amount: int, reason: str, at_s: int) -> None:
        row = (token, "credit", "", on[0], amount, reason, at_s)
        if self._execute(self._sql["new_entry"], row).rowcount:
            self._execute(self._sql["add_credit"], (self._window(on), amount))

    def adjust(self, token: str, call: str, cost: int, reason: str, at_s: int) -> bool:
        found = self._execute(self._sql["find_charge"], (call,)).fetchone()
        if found is None or found[1] == "reserved":
            return False
        row = (token, "adjustment", call, "", cost - found[3], reason, at_s)
        if self._execute(self._sql["new_entry"], row).rowcount:
            self._execute(self._sql["adjust_charge"], (found[0], cost))
        return True

    def recover(self, boot: str, now_s: int) -> int:
        return self._execute(self._sql["expire_charges"], (boot, now_s)).rowcount

    def put_budget(self, budget: tuple[Any, ...], window: str) -> None:
        """`window`: the present one, which may have reached a level by the change."""
        self._execute(self._sql["put_budget"], budget)
        self._execute(self._sql["look_again"], (budget[0], window))

    def alerts_told(self, last: int, state: str, now_s: int) -> None:
        self._execute(self._sql["alerts_told"], (last, state, now_s))

    def lease_alert(self, now_s: int, until_s: int) -> tuple[Any, ...] | None:
        """The oldest that waits to be sent, and is nobody else's until then."""
        found = self._execute(self._sql["waiting_alert"], (now_s,)).fetchone()
        if found is None:
            return None
        self._execute(self._sql["lease_alert"], (found[0], until_s))
        row: tuple[Any, ...] = self._execute(self._sql["one_alert"], found).fetchone()
        return row

    def alert_over(self, number: int, state: str) -> None:
        self._execute(self._sql["alert_over"], (number, state))

    def alert_again(self, number: int) -> None:
        self._execute(self._sql["alert_again"], (number,))

    def rebuild(self) -> None:
        """All sums anew from the charges."""
        for name in ("rebuild_windows", "forget_slots", "rebuild_slots"):
            self._execute(self._sql[name])
