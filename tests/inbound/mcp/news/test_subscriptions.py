"""Who is told that a list or a resource has changed, and until when."""

import asyncio

import msgspec
import pytest
from mcp_types import (
    SubscriptionsAcknowledgedNotification,
    SubscriptionsListenResult,
)
from msgspec import structs
from support.exchange import CAPABILITIES, initialize, legacy, modern, post
from support.fake_upstream import REFUSED, result, tool
from support.house import BERT, server
from support.mcp_hub import doors
from support.news import URI, docs, listen
from support.virtual_time import virtual_time

from agenthub.domain.caller import Caller, KeyTerms, Scope, reach_of
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import View
from agenthub.inbound.mcp.news import subscriptions as subscriptions_module
from agenthub.settings import LimitSettings

TOOLS, PROMPTS, RESOURCES = (
    f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")
)
UPDATED = "notifications/resources/updated"
TAG = "io.modelcontextprotocol/subscriptionId"
NARROW = Caller("narrow", frozenset({Scope.TOOLS}), frozenset({"files"}))


def change(hub, name, method=TOOLS):
    """The server's lists become others, and it says so."""
    fake = hub[name]
    fake.tools = {**fake.tools, f"t{len(fake.tools)}": tool(f"t{len(fake.tools)}")}
    fake.watcher.changed(method, b"{}")


def methods(exchange):
    return [event.get("method", "result") for event in exchange.events]


@virtual_time()
async def test_what_is_honoured_is_told_first_and_everything_carries_the_requests_id():
    async with doors("calc") as hub:
        for message_id in (7, "7"):
            asked = await hub(listen(message_id, toolsListChanged=True, taskIds=["x"]))
            (first,) = asked.events
            SubscriptionsAcknowledgedNotification.model_validate(first)
            assert first["params"] == {
                "notifications": {"toolsListChanged": True}, "_meta": {TAG: message_id},
            }  # fmt: skip
            change(hub, "calc")
            await asyncio.sleep(1)
            assert asked.events[1]["method"] == TOOLS
            assert asked.events[1]["params"] == {"_meta": {TAG: message_id}}


@virtual_time()
async def test_only_what_was_asked_for_and_can_be_told_is_honoured():
    async with doors("calc", "docs", prepare={"docs": docs}) as hub:
        every = {
            "toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True,
        }  # fmt: skip
        uris = [URI, "a:b", "agenthub://nobody/a:b", "agenthub://calc/a:b"]
        asked = await hub(listen(**every, resourceSubscriptions=uris))
        assert asked.events[0]["params"]["notifications"] == {
            **every, "resourceSubscriptions": [URI],
        }  # fmt: skip
        asked = await hub(listen(path="/mcp/calc", **every))
        assert asked.events[0]["params"]["notifications"] == {"toolsListChanged": True}
        asked = await hub(listen(toolsListChanged=False))
        assert asked.events[0]["params"]["notifications"] == {}
        change(hub, "calc")
        await asyncio.sleep(1)
        assert len(asked.events) == 1


@pytest.mark.parametrize(
    "filter_",
    [
        None, [], "x", {"toolsListChanged": "yes"}, {"promptsListChanged": 1},
        {"resourceSubscriptions": "a:b"}, {"resourceSubscriptions": [7]},
        {"resourceSubscriptions": ["a:b"] * 1_001},
    ],
)  # fmt: skip
@virtual_time()
async def test_a_filter_of_the_wrong_shape_is_refused(filter_):
    async with doors("calc") as hub:
        asked = await hub(modern("subscriptions/listen", {"notifications": filter_}))
        assert (asked.status, asked.code, asked.streaming) == (400, -32602, False)


@virtual_time()
async def test_a_client_that_takes_no_streams_cannot_listen():
    async with doors("calc") as hub:
        asked = modern(
            "subscriptions/listen", {"notifications": {}}, accept=b"application/json", message_id=4
        )
        assert (await hub(asked)).status == 406
        assert asked.json["id"] == 4


@virtual_time()
async def test_a_flood_of_news_is_told_once():
    """A35."""
    async with doors("calc") as hub:
        asked = await hub(listen(toolsListChanged=True))
        heard = hub.door.subscriptions._hear
        for _ in range(10_000):
            heard(hub.catalog.get("calc"), TOOLS, b"{}")
        await asyncio.sleep(1)
        assert methods(asked) == ["notifications/subscriptions/acknowledged", TOOLS]


@virtual_time()
async def test_news_of_one_server_reach_its_own_face_and_that_of_all():
    async with doors("calc", "files") as hub:
        every = await hub(listen(toolsListChanged=True))
        calc = await hub(listen(path="/mcp/calc", toolsListChanged=True))
        files = await hub(listen(path="/mcp/files", toolsListChanged=True))
        change(hub, "calc")
        await asyncio.sleep(1)
        assert [len(e.events) for e in (every, calc, files)] == [2, 2, 1]


@virtual_time()
async def test_a_hidden_fallbacks_news_are_nobodys():
    async with doors(server("calc", fallback_url="http://twin.test/mcp")) as hub:
        asked = await hub(listen(toolsListChanged=True))
        twin = next(s for s in hub.catalog.all_servers() if s.hidden)
        hub.door.subscriptions._hear(twin, TOOLS, b"{}")
        await asyncio.sleep(1)
        assert len(asked.events) == 1


@virtual_time()
async def test_a_server_that_comes_or_goes_changes_the_lists_of_all():
    async with doors("calc") as hub:
        every = {
            "toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True,
        }  # fmt: skip
        asked = await hub(listen(**every))
        await hub.catalog.add(server("files"))
        await asyncio.sleep(1)
        assert set(methods(asked)[1:]) >= {TOOLS, PROMPTS, RESOURCES}
        seen = len(asked.events)
        await hub.catalog.remove("files")
        await asyncio.sleep(1)
        assert set(methods(asked)[seen:]) >= {TOOLS, PROMPTS, RESOURCES}


@virtual_time()
async def test_a_face_that_has_gone_ends_its_subscriptions_with_a_result():
    async with doors("calc", "files") as hub:
        asked = await hub(listen("l", path="/mcp/calc", toolsListChanged=True))
        other = await hub(listen("o", path="/mcp/files", toolsListChanged=True))
        await hub.catalog.remove("calc")
        await asyncio.sleep(1)
        assert asked.over
        SubscriptionsListenResult.model_validate(asked.result)
        assert asked.json["id"] == "l"
        assert asked.result == {"resultType": "complete", "_meta": {TAG: "l"}}
        assert not other.over


@virtual_time()
async def test_a_face_that_is_hidden_from_the_key_ends_within_a_beat():
    async with doors("files") as hub:
        asked = await hub(listen(path="/mcp/files", caller=NARROW, toolsListChanged=True))
        hub.catalog._servers["files"].hidden = True
        await asyncio.sleep(6)
        assert asked.over


@virtual_time()
async def test_a_stop_ends_all_with_their_results_and_lets_no_new_one_begin():
    async with doors("calc") as hub:
        asked = await hub(listen(1, toolsListChanged=True))
        session = (await hub(initialize())).header(b"mcp-session-id")
        stream = post(b"", [(b"mcp-session-id", session)], method="GET")
        await hub(stream)
        change(hub, "calc")
        hub.door.close()
        assert asked.over
        assert asked.result["resultType"] == "complete"
        assert (stream.over, stream.events) == (True, [])
        assert (await hub(listen())).code == -31005


@virtual_time()
async def test_a_hub_without_memory_opens_no_stream_and_keeps_those_that_are_open():
    """R45."""
    async with doors("calc") as hub:
        asked = await hub(listen(toolsListChanged=True))
        hub.gateway.bear(10, streams=False)
        assert (await hub(listen())).code == -31005
        assert asked.streaming
        hub.gateway.bear(10, streams=True)
        assert (await hub(listen())).streaming


@virtual_time()
async def test_hanging_up_frees_the_place(monkeypatch):
    """A61."""
    monkeypatch.setattr(subscriptions_module, "PER_CALLER", 1)
    async with doors("calc") as hub:
        asked = await hub(listen(toolsListChanged=True))
        assert (await hub(listen())).code == -31005
        assert (await hub(listen(caller=NARROW))).streaming
        hub.door.subscriptions._hear(hub.catalog.get("calc"), TOOLS, b"{}")
        (mine,) = (s for s in hub.door.subscriptions._open if s.context.caller is BERT)
        asked.gone()
        mine.drop()
        mine.end()
        written = len(asked.chunks)
        await asyncio.sleep(1)
        assert len(asked.chunks) == written
        again = await hub(listen())
        assert again.streaming
        await asyncio.sleep(16)
        assert again.chunks[-1] == b": keep-alive\n\n"


@virtual_time()
async def test_a_client_that_does_not_read_is_told_when_it_does():
    async with doors("calc", limits=LimitSettings(client_buffer_bytes=1_000)) as hub:
        asked = await hub(listen(toolsListChanged=True))
        asked.backlog = 1_001
        for _ in range(3):
            change(hub, "calc")
            await asyncio.sleep(1)
        await asyncio.sleep(30)
        assert len(asked.chunks) == 1, "no news, and no comments either"
        asked.backlog = 0
        asked.drained()
        assert methods(asked)[1:] == [TOOLS]


# ---------------------------------------------------------------- resources


@virtual_time()
async def test_an_update_reaches_who_asked_for_that_resource():
    async with doors("docs", prepare={"docs": docs}) as hub:
        asked = await hub(listen("u", resourceSubscriptions=[URI]))
        own = await hub(listen("o", path="/mcp/docs", resourceSubscriptions=["a:b"]))
        none = await hub(listen(toolsListChanged=True))
        news = b'{"uri":"a:b","_meta":{"x.y/z":1,"io.agenthub/forged":1}}'
        hub["docs"].watcher.changed(UPDATED, news)
        hub["docs"].watcher.changed(UPDATED, b'{"uri":"other"}')
        for garbage in (b"{}", b"[]", b'{"uri":7}'):
            hub["docs"].watcher.changed(UPDATED, garbage)
        await asyncio.sleep(1)
        assert asked.events[1]["params"] == {"uri": URI, "_meta": {"x.y/z": 1, TAG: "u"}}
        assert own.events[1]["params"]["uri"] == "a:b"
        assert [len(e.events) for e in (asked, own, none)] == [2, 2, 1]


@virtual_time()
async def test_a_session_subscribes_and_hears_on_its_stream():
    async with doors("docs", prepare={"docs": docs}) as hub:
        session = (await hub(initialize())).header(b"mcp-session-id")
        stream = await hub(post(b"", [(b"mcp-session-id", session)], method="GET"))

        async def say(method, uri=URI):
            return await hub(legacy(method, {"uri": uri}, session=session))

        for _ in range(2):
            assert (await say("resources/subscribe")).result == {}
        assert hub["docs"].arrived("a:b") == 1
        hub["docs"].watcher.changed(UPDATED, b'{"uri":"a:b"}')
        await asyncio.sleep(1)
        assert stream.events[-1]["params"] == {"uri": URI}
        for _ in range(2):
            assert (await say("resources/unsubscribe")).result == {}
        seen = len(stream.events)
        hub["docs"].watcher.changed(UPDATED, b'{"uri":"a:b"}')
        await asyncio.sleep(1)
        assert len(stream.events) == seen
        for method, uri in [
            ("resources/subscribe", "agenthub://nobody/x"), ("resources/subscribe", 7),
            ("resources/unsubscribe", 7), ("resources/subscribe", "a:b"),
        ]:  # fmt: skip
            assert (await say(method, uri)).code == -32602
        await say("resources/subscribe")
        await hub(post(b"", [(b"mcp-session-id", session)], method="DELETE"))
        assert hub["docs"].asked[-1] == ("resources/unsubscribe", "a:b")


@virtual_time()
async def test_a_session_may_not_subscribe_without_end(monkeypatch):
    monkeypatch.setattr(subscriptions_module, "NAMED_MAX", 1)
    async with doors("docs", prepare={"docs": docs}) as hub:
        session = (await hub(initialize(path="/mcp/docs"))).header(b"mcp-session-id")
        for uri, code in (("a:b", None), ("c:d", -31005)):
            asked = await hub(
                legacy("resources/subscribe", {"uri": uri}, session=session, path="/mcp/docs")
            )
            assert asked.json.get("error", {}).get("code") == code


@virtual_time()
async def test_of_many_updates_the_latest_counts():
    async with doors("docs", prepare={"docs": docs}) as hub:
        asked = await hub(listen(resourceSubscriptions=[URI], toolsListChanged=True))
        for number in range(5_000):
            params = b'{"uri":"a:b","n":%d}' % number
            hub["docs"].watcher.changed(UPDATED, params)
        await asyncio.sleep(1)
        (news,) = asked.events[1:]
        assert news["params"]["n"] == 4_999


# ---------------------------------------------------------------- views, and what a key may touch


VIEW = View("some", allow=("docs__*", "agenthub://docs/*"))
AT_VIEW = "/mcp/v/some"


@virtual_time()
async def test_who_listens_at_a_view_hears_of_its_servers_only():
    async with doors("calc", "docs", prepare={"docs": docs}) as hub:
        await hub.catalog.views.add(VIEW)
        asked = await hub(listen(path=AT_VIEW, toolsListChanged=True))
        change(hub, "calc")
        await asyncio.sleep(1)
        assert methods(asked) == ["notifications/subscriptions/acknowledged"]
        change(hub, "docs")
        await asyncio.sleep(1)
        assert methods(asked)[1:] == [TOOLS]


@virtual_time()
async def test_who_listens_at_a_view_hears_that_it_was_changed_and_ends_with_it():
    async with doors("calc", "docs", prepare={"docs": docs}) as hub:
        await hub.catalog.views.add(VIEW)
        asked = await hub(listen(path=AT_VIEW, toolsListChanged=True, resourcesListChanged=True))
        beside = await hub(listen(2, toolsListChanged=True))
        await hub.catalog.views.replace(View("some", allow=("calc__*",)))
        await asyncio.sleep(1)
        assert sorted(methods(asked)[1:]) == [RESOURCES, TOOLS]
        change(hub, "calc")
        await asyncio.sleep(1)
        assert methods(asked)[3:] == [TOOLS], "it is about another server now"
        assert methods(beside)[1:] == [TOOLS], "nobody else is told of a view"
        await hub.catalog.views.remove("some")
        await asyncio.sleep(1)
        assert methods(asked)[-1] == "result"
        assert asked.over
        assert not beside.over


@virtual_time()
async def test_a_session_at_a_view_hears_that_it_was_changed():
    async with doors("docs") as hub:
        await hub.catalog.views.add(VIEW)
        session = (await hub(initialize(path=AT_VIEW))).header(b"mcp-session-id")
        stream = post(b"", [(b"mcp-session-id", session)], AT_VIEW, method="GET")
        await hub(stream)
        await hub.catalog.views.replace(View("some", allow=("docs__a*",)))
        await asyncio.sleep(1)
        assert TOOLS in methods(stream)


@virtual_time()
async def test_resources_outside_a_view_or_a_keys_set_are_not_listened_to():
    async with doors("docs", prepare={"docs": docs}) as hub:
        await hub.catalog.views.add(View("some", allow=("docs__*", "agenthub://docs/z*")))
        reach = reach_of(KeyTerms(ToolSet(("docs__*",))), {})
        for path, caller in [(AT_VIEW, BERT), ("/mcp", structs.replace(BERT, reach=reach))]:
            asked = await hub(listen(path=path, caller=caller, resourceSubscriptions=[URI]))
            assert asked.events[0]["params"]["notifications"] == {}
        assert hub["docs"].arrived("resources/subscribe") == 0


@virtual_time()
async def test_resources_in_a_view_are_listened_to_under_their_address():
    async with doors("docs", prepare={"docs": docs}) as hub:
        await hub.catalog.views.add(VIEW)
        asked = await hub(listen(path=AT_VIEW, resourceSubscriptions=[URI]))
        assert asked.events[0]["params"]["notifications"] == {"resourceSubscriptions": [URI]}
        hub["docs"].watcher.changed(UPDATED, b'{"uri":"a:b"}')
        await asyncio.sleep(1)
        assert asked.events[1]["params"]["uri"] == URI


@virtual_time()
async def test_a_key_that_is_revoked_hears_no_more():
    async with doors("calc") as hub:
        row, token = await hub.keys.create("k")
        caller = hub.keys.authenticate(token.encode())
        asked = await hub(listen(caller=caller, toolsListChanged=True))
        beside = await hub(listen(2, toolsListChanged=True))
        await hub.keys.revoke(row.id)
        assert asked.over
        change(hub, "calc")
        await asyncio.sleep(1)
        assert methods(beside)[1:] == [TOOLS]


@virtual_time()
async def test_a_key_that_is_limited_while_it_listens_is_told_and_hears_less():
    async with doors("calc", "docs", prepare={"docs": docs}) as hub:
        row, token = await hub.keys.create("k")
        caller = hub.keys.authenticate(token.encode())
        asked = await hub(listen(caller=caller, toolsListChanged=True, resourceSubscriptions=[URI]))
        beside = await hub(listen(2, toolsListChanged=True))
        await hub.keys.change(row.id, KeyTerms(ToolSet(("calc__*",))))
        await asyncio.sleep(1)
        assert methods(asked)[1:] == [TOOLS]
        assert methods(beside)[1:] == []
        change(hub, "docs")
        hub["docs"].watcher.changed(UPDATED, b'{"uri":"a:b"}')
        await asyncio.sleep(1)
        assert methods(asked)[2:] == []
        change(hub, "calc")
        await asyncio.sleep(1)
        assert methods(asked)[2:] == [TOOLS]


@virtual_time()
async def test_a_key_for_a_view_that_is_changed_hears_of_it_at_every_address():
    async with doors("calc", "docs") as hub:
        await hub.catalog.views.add(VIEW)
        _, token = await hub.keys.create("k", terms=KeyTerms(views=("some",)))
        caller = hub.keys.authenticate(token.encode())
        at_all = await hub(listen(1, caller=caller, toolsListChanged=True))
        at_view = await hub(listen(2, AT_VIEW, caller, toolsListChanged=True))
        await hub.catalog.views.replace(View("some", allow=("calc__*",)))
        await asyncio.sleep(1)
        for asked in (at_all, at_view):
            assert methods(asked)[1:] == [TOOLS]
        change(hub, "docs")
        await asyncio.sleep(1)
        assert methods(at_all)[2:] == methods(at_view)[2:] == []
        change(hub, "calc")
        await asyncio.sleep(1)
        assert methods(at_all)[2:] == methods(at_view)[2:] == [TOOLS]


# ---------------------------------------------------------------- tasks


TASKS = "io.modelcontextprotocol/tasks"
NEWS = "notifications/tasks"
DECLARED = {"extensions": {TASKS: {}}}
BEGINS = result(b'{"resultType":"task","taskId":"t-1","status":"working"}', result_type="task")


def declaring(message_id=1, path="/mcp", caller=BERT, declared=DECLARED, **notifications):
    return modern(
        "subscriptions/listen", {"notifications": notifications}, message_id=message_id,
        path=path, caller=caller, meta={CAPABILITIES: declared},
    )  # fmt: skip


async def begun(hub, path="/mcp"):
    name = "calc__add" if path == "/mcp" else "add"
    meta = {CAPABILITIES: DECLARED}
    asked = await hub(modern("tools/call", {"name": name}, meta=meta, path=path, caller=BERT))
    return asked.result["taskId"]


def jobs(fake):
    fake.answers["add"] = BEGINS


@virtual_time()
async def test_who_listens_hears_of_its_tasks_under_the_ids_that_it_knows():
    async with doors("calc", prepare={"calc": jobs}) as hub:
        shown = await begun(hub)
        asked = await hub(declaring(taskIds=[shown, "t-1", f"{shown}x"]))
        assert asked.events[0]["params"]["notifications"] == {"taskIds": [shown]}
        assert hub["calc"].asked[-1] == ("tasks/watch", "t-1")
        link = b'{"type":"resource_link","uri":"a:b"}'
        hub["calc"].watcher.changed(
            NEWS,
            b'{"taskId":"t-1","status":"completed","x":1.0,"result":{"content":[%b],"_meta":'
            b'{"io.agenthub/served_by":"x"}},"_meta":{"%b":3}}' % (link, TAG.encode()),
        )
        await asyncio.sleep(1)
        assert methods(asked)[1:] == [NEWS]
        assert asked.events[1]["params"] == {
            "taskId": shown, "status": "completed", "x": 1.0, "_meta": {TAG: 1},
            "result": {
                "content": [{"type": "resource_link", "uri": "agenthub://calc/a:b"}], "_meta": {},
            },
        }  # fmt: skip
        for news in (b'{"taskId":"t-2"}', b"{}", b'{"taskId":1}'):
            hub["calc"].watcher.changed(NEWS, news)
        forged = b'{"taskId":"t-1","error":{"code":-31002}}'
        hub["calc"].watcher.changed(NEWS, forged)
        await asyncio.sleep(1)
        assert len(asked.events) == 2
        hub["calc"].die()
        hub["calc"].revive()
        await asyncio.sleep(1)
        assert hub["calc"].asked.count(("tasks/watch", "t-1")) == 2
        asked.gone()
        await asyncio.sleep(1)
        assert hub["calc"].asked[-1] == ("tasks/unwatch", "t-1")


@virtual_time()
async def test_nobody_hears_of_tasks_of_others_or_without_declaring_them():
    """A38."""
    async with doors("calc", "docs", prepare={"calc": jobs}) as hub:
        shown = await begun(hub)
        for asking in (
            declaring(caller=NARROW, taskIds=[shown]),
            declaring(path="/mcp/docs", taskIds=[shown]),
            declaring(declared={}, taskIds=[shown]),
        ):
            assert (await hub(asking)).events[0]["params"]["notifications"] == {}
        assert ("tasks/watch", "t-1") not in hub["calc"].asked
        for wrong in ("x", [1], ["x"] * 1_001):
            assert (await hub(declaring(taskIds=wrong))).code == -32602


@virtual_time()
async def test_what_a_task_asks_in_its_news_is_held_against_what_was_declared():
    asks = {"k": {"method": "elicitation/create", "params": {"message": "Your name?"}}}
    news = msgspec.json.encode({"taskId": "t-1", "status": "input_required", "inputRequests": asks})
    async with doors("calc", prepare={"calc": jobs}) as hub:
        shown = await begun(hub)
        able = await hub(declaring(declared={**DECLARED, "elicitation": {}}, taskIds=[shown]))
        unable = await hub(declaring(taskIds=[shown]))
        assert hub["calc"].asked.count(("tasks/watch", "t-1")) == 1
        hub["calc"].watcher.changed(NEWS, news)
        await asyncio.sleep(1)
        (told,) = [event["params"] for event in able.events[1:]]
        assert told["inputRequests"]["k"]["params"]["message"] == "calc: Your name?"
        assert len(unable.events) == 1


@virtual_time()
async def test_a_task_of_a_fallback_is_watched_there():
    calc = server("calc", fallbacks=("spare",))

    def dead(fake):
        fake.answers["add"] = REFUSED

    async with doors(calc, "spare", prepare={"calc": dead, "spare": jobs}) as hub:
        shown = await begun(hub)
        asked = await hub(declaring(taskIds=[shown]))
        assert hub["spare"].asked[-1] == ("tasks/watch", "t-1")
        hub["calc"].watcher.changed(NEWS, b'{"taskId":"t-1","status":"failed"}')
        hub["spare"].watcher.changed(NEWS, b'{"taskId":"t-1","status":"working"}')
        await asyncio.sleep(1)
        (told,) = [event["params"] for event in asked.events[1:]]
        assert (told["taskId"], told["status"]) == (shown, "working")


@virtual_time()
async def test_an_old_client_hears_nothing_of_the_hubs_own_stream():
    async with doors("docs", prepare={"docs": docs}) as hub:
        session = (await hub(initialize())).header(b"mcp-session-id")
        stream = await hub(post(b"", [(b"mcp-session-id", session)], method="GET"))
        await hub(legacy("resources/subscribe", {"uri": URI}, session=session))
        news = b'{"uri":"a:b","_meta":{"%b":5,"x":1.0}}' % TAG.encode()
        hub["docs"].watcher.changed(UPDATED, news)
        await asyncio.sleep(1)
        assert stream.events[-1]["params"] == {"uri": URI, "_meta": {"x": 1.0}}


@virtual_time()
async def test_who_listens_hears_of_lists_whose_server_never_says_that_they_change():
    async with doors(server("calc", trust=True), server("files", trust=True)) as hub:
        listens = await hub(listen(1, toolsListChanged=True, path="/mcp/calc"))
        await hub(listen(2, path="/mcp/files"))
        hub["calc"].tools["sub"] = hub["files"].tools["sub"] = tool("sub")
        asked = len(hub["files"].asked)
        await asyncio.sleep(100)
        assert methods(listens)[1:] == [TOOLS]
        assert len(hub["files"].asked) == asked, "nobody wants to know"
