"""Telling alerts, in virtual time: once to all who listen, to the webhook until it is taken."""

from support.fake_alerts import FakeAlerts
from support.virtual_time import LoopClock, passes, settled, virtual_time

from agenthub.alerts import GIVE_UP_S, Alerts
from agenthub.domain.errors import UpstreamUnavailable
from agenthub.domain.span import SECOND
from agenthub.tasks import Tasks


class Receiver:
    """alerts.Webhook"""

    def __init__(self):
        self.took, self.tries, self.problem = [], 0, ""

    async def send(self, alert, now_s):
        self.tries += 1
        if self.problem:
            raise UpstreamUnavailable(self.problem)
        self.took.append((alert.token, now_s))


class House:
    def __init__(self, webhook=None, storage=None):
        self.clock, self.storage = LoopClock(), storage or FakeAlerts()
        self.webhook, self.heard = webhook, []
        self.alerts = Alerts(self.storage, self.clock, self, Tasks(), webhook)

    def event(self, event):
        self.heard.append((event.budget, event.level, event.spent_usd, event.limit_usd))

    async def up(self):
        await self.alerts.open()
        await passes(SECOND)
        return self


@virtual_time()
async def test_what_the_ledger_wrote_is_told_soon_after_money_moved_and_once():
    house = await House().up()
    house.storage.add(1, 2)
    for _ in range(50):
        house.alerts.look_soon()
    await passes(SECOND)
    assert house.heard == [("b", "warning", "0.0000009", "0.000001")] * 2
    assert house.storage.state(2) == "told"
    await passes(60 * SECOND)
    assert len(house.heard) == 2


@virtual_time()
async def test_what_another_hub_wrote_is_found_within_ten_seconds():
    house = await House().up()
    house.storage.add(1)
    await passes(11 * SECOND)
    assert len(house.heard) == 1


@virtual_time()
async def test_what_a_killed_hub_did_not_tell_is_told_after_the_next_start():
    storage = FakeAlerts()
    storage.add(1, state="told")
    storage.add(2, 3)
    house = await House(storage=storage).up()
    assert len(house.heard) == 2
    assert (await House(storage=storage).up()).heard == []


@virtual_time()
async def test_more_than_a_page_of_them_are_told_in_one_go():
    house = await House().up()
    house.storage.add(*range(1, 251))
    house.alerts.look_soon()
    await passes(SECOND)
    assert len(house.heard) == 250


@virtual_time()
async def test_what_comes_while_it_looks_is_looked_at_again():
    house = await House(Receiver()).up()
    house.storage.add(1)
    house.alerts.look_soon()
    house.webhook.send = lambda alert, now_s: _late(house)
    await passes(SECOND)
    assert len(house.heard) == 2


async def _late(house):
    if len(house.storage.rows) == 1:
        house.storage.add(2)
        house.alerts.look_soon()


@virtual_time()
async def test_a_database_that_does_not_answer_loses_nothing():
    house = await House().up()
    house.storage.add(1)
    house.storage.broken = True
    house.alerts.look_soon()
    await passes(30 * SECOND)
    assert house.heard == []
    house.storage.broken = False
    await passes(11 * SECOND)
    assert len(house.heard) == 1


@virtual_time()
async def test_the_webhook_gets_each_once_in_order():
    house = await House(Receiver()).up()
    house.storage.add(1, 2, 3)
    house.alerts.look_soon()
    await passes(SECOND)
    assert [token for token, _ in house.webhook.took] == ["t1", "t2", "t3"]
    assert {house.storage.state(number) for number in (1, 2, 3)} == {"sent"}
    await passes(600 * SECOND)
    assert house.webhook.tries == 3


@virtual_time()
async def test_what_the_webhook_did_not_take_is_tried_again_after_ten_seconds():
    house = await House(Receiver()).up()
    house.webhook.problem = "HTTP 500"
    house.storage.add(1)
    house.alerts.look_soon()
    await passes(SECOND)
    house.webhook.problem = ""
    await passes(25 * SECOND)
    assert [token for token, _ in house.webhook.took] == ["t1"]


@virtual_time()
async def test_a_dead_webhook_is_asked_ever_more_rarely_and_not_for_each_that_waits():
    house = await House(Receiver()).up()
    house.webhook.problem = "HTTP 500"
    house.storage.add(*range(1, 101))
    house.alerts.look_soon()
    await passes(SECOND)
    assert house.webhook.tries == 1
    for number in range(101, 140):
        house.storage.add(number)
        house.alerts.look_soon()
        await passes(SECOND // 4)
    assert house.webhook.tries <= 2
    await passes(3_600 * SECOND)
    assert house.webhook.tries <= 11
    assert house.alerts.problem == "HTTP 500"
    house.webhook.problem = ""
    await passes(620 * SECOND)
    assert [token for token, _ in house.webhook.took] == [f"t{n}" for n in range(1, 140)]
    assert house.alerts.problem == ""


@virtual_time()
async def test_after_a_day_it_is_given_up():
    house = await House(Receiver()).up()
    house.webhook.problem = "HTTP 404"
    house.storage.add(1)
    house.alerts.look_soon()
    await passes((GIVE_UP_S - 600) * SECOND)
    assert house.storage.state(1) == "waiting"
    await passes(1_300 * SECOND)
    assert house.storage.state(1) == "given_up"
    tries = house.webhook.tries
    await passes(3_600 * SECOND)
    assert house.webhook.tries == tries


@virtual_time()
async def test_one_that_is_another_hubs_to_send_is_left_to_it():
    storage = FakeAlerts()
    one, other = await House(Receiver(), storage).up(), await House(Receiver(), storage).up()
    storage.add(1)
    one.alerts.look_soon()
    other.alerts.look_soon()
    await passes(30 * SECOND)
    assert len(one.webhook.took) + len(other.webhook.took) == 1
    assert len(one.heard) == len(other.heard) == 1, "each tells its own listeners"


@virtual_time()
async def test_after_its_end_it_asks_for_nothing_more():
    house = await House().up()
    house.alerts.close()
    asked = house.storage.asked
    house.alerts.look_soon()
    await passes(60 * SECOND)
    assert house.storage.asked == asked
    await settled()
