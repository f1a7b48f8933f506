"""Alerts: that a budget's window has reached a level, told once, by event, log and webhook.

    money moved ─► a row, in that transaction ─► event, log ─► told
                                                   └─ webhook ─► waiting ─► sent
                                                                   └─ a day ─► given up

The row is there before anybody hears of it, so a hub that is killed tells it after its next start:
an event or a line of the log may come twice then, and the webhook's receiver may get the same id
twice. Of hubs that share a ledger each tells its own listeners, and one of them the webhook.
Source: Standard Webhooks, https://www.standardwebhooks.com (ids, signatures, retries).
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from agenthub.domain.budget import Level
from agenthub.domain.errors import HubError, StorageFailed
from agenthub.domain.events import BudgetReached
from agenthub.domain.money import NanoUsd, show
from agenthub.domain.span import MILLISECOND, SECOND, Nanoseconds
from agenthub.ports import Clock, Observer, Timer
from agenthub.tasks import Tasks

log = logging.getLogger(__name__)

SOON: Final[Nanoseconds] = SECOND // 5
"""Money moves in crowds: they are looked at together."""
LOOK: Final[Nanoseconds] = 10 * SECOND
"""For what another hub wrote, and what waits to be sent."""
PAGE: Final = 100
LEASE_S: Final = 60
"""So long one hub alone has an alert to send; longer than a try takes."""
PAUSES_S: Final = (10, 30, 60, 120, 300, 600)
"""After a try that failed, whichever alert it was for; the last one for all further tries."""
GIVE_UP_S: Final = 24 * 3600


class Alert(Struct, frozen=True):
    """That the window of a budget reached a level."""

    number: int
    """Grows."""
    token: str
    """For receivers: sent twice, it is the same."""
    budget: str
    window: str
    level: Level
    spent: NanoUsd
    limit: NanoUsd
    """With what was credited."""
    starts_at: int
    ends_at: int
    """Of the window."""
    told_at: int
    """Seconds since 1970; 0: not yet."""
    state: str
    """`new`, `told` (there was no webhook), `waiting`, `sent` or `given_up`."""
    tries: int
    """To send it."""


class AlertStorage(Protocol):
    """Raises StorageFailed."""

    async def known(self) -> int:
        """The number up to which all were told."""
        ...

    async def after(self, number: int, limit: int) -> Sequence[Alert]:
        """Oldest first."""
        ...

    async def before(self, number: int | None, limit: int) -> Sequence[Alert]:
        """Newest first."""
        ...

    async def told(self, number: int, now_s: int, *, to_send: bool) -> None:
        """All up to this number were told now."""
        ...

    async def lease(self, now_s: int, until_s: int) -> Alert | None:
        """The oldest that waits to be sent, and is nobody else's until then. Counts as a try."""
        ...

    async def over(self, number: int, *, sent: bool) -> None:
        """It is not sent any more."""
        ...

    async def again(self, number: int) -> None:
        """Anybody may send it."""
        ...


class Webhook(Protocol):
    async def send(self, alert: Alert, now_s: int) -> None:
        """Raises UpstreamUnavailable, in words: it was not taken."""
        ...


class Alerts:
    """Tells what the ledger wrote down."""

    def __init__(
        self,
        storage: AlertStorage,
        clock: Clock,
        observer: Observer,
        tasks: Tasks,
        webhook: Webhook | None,
    ) -> None:
        self._storage, self._clock, self._observer = storage, clock, observer
        self._tasks, self._webhook = tasks, webhook
        self._known = 0
        self._timer: Timer | None = None
        self._looks = self._again = False
        self._failures = 0
        """Of the webhook, since it took something."""
        self._not_before: Nanoseconds = clock.now()
        self.problem = ""
        """Why nothing can be sent now; empty when it can."""

    async def open(self) -> None:
        """Once, at start: what was not told yet is told now. Raises StorageFailed."""
        self._known = await self._storage.known()
        self.look_soon()

    def look_soon(self) -> None:
        """Money moved, or a budget changed."""
        if self._looks:
            self._again = True
        else:
            self._look_in(SOON)

    async def all(self, number: int | None, limit: int) -> Sequence[Alert]:
        """Newest first, below the number. Raises StorageFailed."""
        return await self._storage.before(number, limit)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks = True

    # ------------------------------------------------------------ looking

    def _look_in(self, span: Nanoseconds) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.after(span, self._start)

    def _start(self) -> None:
        self._timer, self._looks, self._again = None, True, False
        self._tasks.start(self._look(), "alerts")

    async def _look(self) -> None:
        try:
            await self._tell()
            await self._send_all()
        except StorageFailed as error:
            log.debug("Alerts wait for the database", extra={"problem": str(error)})
        finally:
            self._looks = False
            self._look_in(SOON if self._again else LOOK)

    async def _tell(self) -> None:
        while found := await self._storage.after(self._known, PAGE):
            for alert in found:
                self._observer.event(_event(alert, self._clock.wall() // MILLISECOND))
            last = found[-1].number
            await self._storage.told(last, self._now_s(), to_send=self._webhook is not None)
            self._known = last

    # ------------------------------------------------------------ sending

    async def _send_all(self) -> None:
        """One after the other; a receiver that failed is left alone for a while."""
        webhook = self._webhook
        while webhook is not None and self._clock.now() >= self._not_before:
            now_s = self._now_s()
            alert = await self._storage.lease(now_s, now_s + LEASE_S)
            if alert is None:
                return
            if now_s - alert.told_at > GIVE_UP_S:
                facts = {"budget": alert.budget, "level": alert.level.value, "tries": alert.tries}
                log.error("An alert was not taken by the webhook and is given up", extra=facts)
                await self._storage.over(alert.number, sent=False)
                continue
            try:
                await webhook.send(alert, now_s)
            except HubError as error:
                self._failed(str(error))
                await self._storage.again(alert.number)
            else:
                self._failures, self.problem = 0, ""
                await self._storage.over(alert.number, sent=True)

    def _failed(self, why: str) -> None:
        pause = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._not_before = self._clock.now() + pause * SECOND
        if not self.problem:
            log.warning("The webhook took no alert; it is tried again", extra={"problem": why})
        self.problem = why

    def _now_s(self) -> int:
        return self._clock.wall() // SECOND


def _event(alert: Alert, at_ms: int) -> BudgetReached:
    return BudgetReached(
        at_ms, alert.budget, alert.level.value, show(alert.spent), show(alert.limit),
        alert.starts_at, alert.ends_at,
    )  # fmt: skip
