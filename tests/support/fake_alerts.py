"""alerts.AlertStorage in a dict."""

from msgspec import structs

from agenthub.alerts import Alert
from agenthub.domain.budget import Level
from agenthub.domain.errors import StorageFailed


def reached(number, level=Level.WARNING):
    return Alert(number, f"t{number}", "b", "w", level, 900, 1_000, 1, 2, 0, "new", 0)


class FakeAlerts:
    """The rows that a ledger would have written."""

    def __init__(self):
        self.rows, self.leases, self.asked = {}, {}, 0
        self.broken = False

    def add(self, *numbers, state="new", told_at=0):
        for number in numbers:
            self.rows[number] = structs.replace(reached(number), state=state, told_at=told_at)

    def state(self, number):
        return self.rows[number].state

    def _check(self):
        self.asked += 1
        if self.broken:
            raise StorageFailed("The disk is full.")

    def _set(self, number, **more):
        self.rows[number] = structs.replace(self.rows[number], **more)

    async def known(self):
        new = [number for number, row in self.rows.items() if row.state == "new"]
        return min(new) - 1 if new else max(self.rows, default=0)

    async def after(self, number, limit):
        self._check()
        return [self.rows[one] for one in sorted(self.rows) if one > number][:limit]

    async def before(self, number, limit):
        below = [one for one in sorted(self.rows, reverse=True) if number is None or one < number]
        return [self.rows[one] for one in below][:limit]

    async def told(self, number, now_s, *, to_send):
        self._check()
        for one, row in self.rows.items():
            if one <= number and row.state == "new":
                self._set(one, state="waiting" if to_send else "told", told_at=now_s)

    async def lease(self, now_s, until_s):
        self._check()
        for one in sorted(self.rows):
            if self.state(one) == "waiting" and self.leases.get(one, 0) <= now_s:
                self.leases[one] = until_s
                self._set(one, tries=self.rows[one].tries + 1)
                return self.rows[one]
        return None

    async def over(self, number, *, sent):
        self._set(number, state="sent" if sent else "given_up")

    async def again(self, number):
        self.leases[number] = 0
