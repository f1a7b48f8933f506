"""When a server is asked to tell of a resource, and who waits for that."""

import asyncio

from support.exchange import initialize, legacy
from support.fake_upstream import HANGS, OK, Act
from support.house import ANNA, server
from support.mcp_hub import doors
from support.news import URI, docs, listen
from support.virtual_time import settled, virtual_time

from agenthub.domain.call import Era
from agenthub.domain.endpoint import RateLimit
from agenthub.domain.errors import Overloaded, RateLimited
from agenthub.domain.span import SECOND
from agenthub.inbound.mcp.news.watched import Watched
from agenthub.inbound.mcp.terms import Context
from agenthub.passage import Answer

UPDATED = "notifications/resources/updated"
SLOW = Act(OK.reply, 3 * SECOND)


@virtual_time()
async def test_the_server_is_asked_once_for_all_and_again_when_it_is_new():
    async with doors("docs", "calc", prepare={"docs": docs}) as hub:
        first = await hub(listen(resourceSubscriptions=[URI]))
        second = await hub(listen(resourceSubscriptions=[URI]))
        assert hub["docs"].arrived("a:b") == 1
        assert hub["docs"].asked[-1] == ("resources/subscribe", "a:b")
        for name in ("docs", "calc"):
            hub[name].die()
            hub[name].revive()
        await asyncio.sleep(1)
        assert hub["docs"].asked.count(("resources/subscribe", "a:b")) == 2
        first.gone()
        await settled()
        assert ("resources/unsubscribe", "a:b") not in hub["docs"].asked
        second.gone()
        await asyncio.sleep(0.1)
        assert hub["docs"].asked[-1] == ("resources/unsubscribe", "a:b")


@virtual_time()
async def test_subscribing_at_a_sick_server_is_no_error_of_the_client():
    async with doors("docs", prepare={"docs": docs}) as hub:
        hub.catalog.get("docs").lane.breaker.force_open(hub.clock.now(), "", None)
        asked = await hub(listen(resourceSubscriptions=[URI]))
        assert len(asked.events) == 1
        hub.catalog.get("docs").lane.breaker.release(hub.clock.now())
        await asyncio.sleep(60)
        assert hub["docs"].arrived("a:b") == 0, "a new connection will ask"

        def refuse(call, receiver):
            raise Overloaded

        hub.gateway.start = refuse
        other = await hub(listen(resourceSubscriptions=["agenthub://docs/c:d"]))
        assert len(other.events) == 1


@virtual_time()
async def test_a_server_with_a_rate_limit_is_asked_when_there_is_room():
    record = server("docs", rate_limit=RateLimit(rps=2, burst=2))
    async with doors(record, prepare={"docs": docs}) as hub:
        uris = [f"agenthub://docs/a:{number}" for number in range(6)]
        hub.send(listen(resourceSubscriptions=uris))
        gone = hub.send(listen(resourceSubscriptions=["agenthub://docs/gone"]))
        gone.gone()
        await asyncio.sleep(20)
        wanted = {("resources/subscribe", f"a:{number}") for number in range(6)}
        told = [one for one in hub["docs"].asked if one[0] == "resources/subscribe"]
        assert set(told) == wanted
        assert len(told) == len(wanted)
        hub["docs"].die()
        await hub(listen(resourceSubscriptions=["agenthub://docs/later"]))
        await asyncio.sleep(5)
        assert hub["docs"].arrived("later") == 0


@virtual_time()
async def test_a_subscription_is_acknowledged_when_the_server_was_asked():
    """Or a client that changes the resource at once would not hear of it."""
    async with doors("docs", prepare={"docs": docs}) as hub:
        hub["docs"].answers["resources/subscribe"] = SLOW
        first, second = (hub.send(listen(n, resourceSubscriptions=[URI])) for n in (1, 2))
        await asyncio.sleep(1)
        hub["docs"].watcher.changed(UPDATED, b'{"uri":"a:b"}')
        await asyncio.sleep(1)
        assert [first.events, second.events] == [[], []]
        await asyncio.sleep(2)
        for asked in (first, second):
            methods = [event["method"] for event in asked.events]
            assert methods == ["notifications/subscriptions/acknowledged", UPDATED]


@virtual_time()
async def test_a_session_is_answered_when_the_server_was_asked():
    async with doors("docs", prepare={"docs": docs}) as hub:
        hub["docs"].answers["resources/subscribe"] = SLOW
        session = (await hub(initialize())).header(b"mcp-session-id")
        asked = hub.send(legacy("resources/subscribe", {"uri": URI}, session=session))
        await asyncio.sleep(2)
        assert asked.status is None
        await asyncio.sleep(2)
        assert asked.result == {}


@virtual_time()
async def test_a_server_that_does_not_answer_holds_nobody_up_for_long():
    async with doors("docs", prepare={"docs": docs}) as hub:
        hub["docs"].answers["resources/subscribe"] = HANGS
        asked = hub.send(listen(resourceSubscriptions=[URI]))
        gone = hub.send(listen(resourceSubscriptions=[URI]))
        await settled()
        gone.gone()
        await asyncio.sleep(11)
        assert len(asked.events) == 1
        assert gone.events == []


CONTEXT = Context(ANNA, None, Era.LEGACY)
PLACE = ("docs", "a:b")


class Gateway:
    """Keeps what was asked, and answers when the test wants it."""

    def __init__(self):
        self.asked = []

    def start(self, call, receiver):
        self.asked.append((call.method, receiver))

    def finish(self, number, error=None):
        self.asked[number][1].finished(Answer(None, error, "docs", 1))


@virtual_time()
async def test_the_answer_to_an_end_is_none_to_who_begins_anew():
    async with doors("docs", prepare={"docs": docs}) as hub:
        gateway, told = Gateway(), []
        hub.gateway.start = gateway.start
        watched = Watched(hub)
        watched.add(CONTEXT, PLACE, lambda: told.append("first"))
        gateway.finish(0)
        watched.remove(CONTEXT, PLACE)
        watched.add(CONTEXT, PLACE, lambda: told.append("second"))
        gateway.finish(1)
        assert told == ["first"]
        gateway.finish(2)
        assert told == ["first", "second"]
        assert [method for method, _ in gateway.asked] == [
            "resources/subscribe", "resources/unsubscribe", "resources/subscribe",
        ]  # fmt: skip


@virtual_time()
async def test_a_hub_that_stops_asks_no_more():
    async with doors("docs", prepare={"docs": docs}) as hub:
        gateway = Gateway()
        hub.gateway.start = gateway.start
        watched = Watched(hub)
        watched.add(CONTEXT, PLACE, lambda: None)
        gateway.finish(0, RateLimited(retry_after_ms=100))
        await asyncio.sleep(2)
        assert len(gateway.asked) == 2
        gateway.finish(1, RateLimited(retry_after_ms=100))
        watched.close()
        await asyncio.sleep(10)
        assert len(gateway.asked) == 2
