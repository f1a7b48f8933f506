"""Alerts in the ledger's tables (alerts.AlertStorage): see schema/0008_alert.sql."""

from collections.abc import Coroutine
from typing import Any, Final, Protocol

from agenthub.alerts import Alert
from agenthub.domain.budget import Level
from agenthub.outbound.database_process import SURVEY_S, Value

HIGHEST: Final = 2**63 - 1
LEVELS: Final = (Level.SAFE, Level.WARNING, Level.CRITICAL, Level.BLOCKED)
"""By the number that a row has."""


class Tables(Protocol):
    """DatabaseProcess, or PostgresDatabase."""

    def survey(
        self, statement: str, *values: Value, seconds: int = SURVEY_S
    ) -> Coroutine[Any, Any, list[tuple[Any, ...]]]: ...
    def book(self, operation: str, *values: object) -> Coroutine[Any, Any, Any]: ...


class DatabaseAlerts:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def known(self) -> int:
        ((number,),) = await self._tables.survey("alerts_known")
        return int(number)

    async def after(self, number: int, limit: int) -> list[Alert]:
        return [_alert(row) for row in await self._tables.survey("alerts_after", number, limit)]

    async def before(self, number: int | None, limit: int) -> list[Alert]:
        below = HIGHEST if number is None else number
        return [_alert(row) for row in await self._tables.survey("alerts", below, limit)]

    async def told(self, number: int, now_s: int, *, to_send: bool) -> None:
        await self._tables.book("alerts_told", number, "waiting" if to_send else "told", now_s)

    async def lease(self, now_s: int, until_s: int) -> Alert | None:
        row = await self._tables.book("lease_alert", now_s, until_s)
        return None if row is None else _alert(row)

    async def over(self, number: int, *, sent: bool) -> None:
        await self._tables.book("alert_over", number, "sent" if sent else "given_up")

    async def again(self, number: int) -> None:
        await self._tables.book("alert_again", number)


def _alert(row: tuple[Any, ...]) -> Alert:
    number, token, budget, window, level, spent, limit, *rest = row
    return Alert(number, token, budget, window, LEVELS[int(level)], spent, limit, *rest)
