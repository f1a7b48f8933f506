"""Tasks: ids that lead to the one server that has them, for the caller that began them alone."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs
from support.exchange import CAPABILITIES, initialize, legacy, modern
from support.fake_upstream import OK, REFUSED, error, lost, result
from support.house import ANNA, BERT, server
from support.mcp_hub import SECRET, doors
from support.virtual_time import virtual_time

from agenthub.domain.caller import Reach
from agenthub.domain.tool_set import ToolSet
from agenthub.inbound.mcp.tasks import SERVERS_ID_MAX, Task, TaskIds, UnknownTask

TASKS = "io.modelcontextprotocol/tasks"
DECLARED = {"extensions": {TASKS: {}}}
ADD = {"name": "add", "arguments": {"a": 1}}
FACTS = b'"status":"working","createdAt":"2026-01-01T00:00:00Z","ttlMs":null,"x":1.0'
SERVED = '{"io.agenthub/served_by":"calc"}'
IDS = TaskIds(SECRET)


def begins(own=b'"t-1"', facts=FACTS):
    """A server that makes a task of the call."""
    return result(b'{"resultType":"task","taskId":%b,%b}' % (own, facts), result_type="task")


def call(params=ADD, *, declared=DECLARED, path="/mcp/calc", **more):
    return modern("tools/call", params, meta={CAPABILITIES: declared}, path=path, **more)


def about(method, task_id, *, declared=DECLARED, path="/mcp/calc", **more):
    params = {"taskId": task_id, **more.pop("params", {})}
    return modern(method, params, meta={CAPABILITIES: declared}, path=path, **more)


def hub_with(**answers):
    def prepare(fake):
        fake.answers.update({"add": begins(), **answers})

    return doors("calc", prepare={"calc": prepare})


def task_id(exchange):
    return exchange.result["taskId"]


@virtual_time()
async def test_the_id_is_the_hubs_and_all_else_stays_as_the_server_wrote_it():
    async with hub_with() as hub:
        begun = await hub(call())
        shown = task_id(begun)
        assert IDS.open(shown, "anna", ()) == Task("calc", "add", "calc", "t-1")
        expected = f'{{"resultType":"task","taskId":"{shown}",{FACTS.decode()},"_meta":{SERVED}}}'
        assert expected.encode() in begun.body


@virtual_time()
async def test_what_is_asked_of_a_task_goes_to_its_server_under_the_servers_own_id():
    got = b'{"resultType":"complete","taskId":"t-1",%b,"result":{"content":[],"n":1.0}}' % FACTS
    done = result(b'{"resultType":"complete"}')
    answers = {"tasks/get": result(got), "tasks/update": done, "tasks/cancel": done}
    async with hub_with(**answers) as hub:
        shown = task_id(await hub(call()))
        asked = await hub(about("tasks/get", shown, params={"x": [1.0]}))
        sent = hub["calc"].sent[-1]
        assert (sent.method, sent.name) == ("tasks/get", "t-1")
        assert bytes(sent.params["x"]) == b"[1.0]"
        assert task_id(asked) == shown
        assert b'"result":{"content":[],"n":1.0}' in asked.body
        given = {"inputResponses": {"k": {"action": "accept"}}}
        asked = await hub(about("tasks/update", shown, params=given))
        assert asked.result["resultType"] == "complete"
        assert bytes(hub["calc"].sent[-1].params["inputResponses"]) == b'{"k":{"action":"accept"}}'
        await hub(about("tasks/cancel", shown))
        assert (hub["calc"].sent[-1].method, hub["calc"].sent[-1].name) == ("tasks/cancel", "t-1")


@virtual_time()
async def test_an_id_leads_to_its_task_at_every_face_that_shows_its_server_and_at_no_other():
    async with doors("calc", "files", prepare={"calc": lambda f: f.answers.update(
        {"add": begins(), "tasks/get": result(b'{"resultType":"complete","taskId":"t-1"}')}
    )}) as hub:  # fmt: skip
        shown = task_id(await hub(call({"name": "calc__add"}, path="/mcp")))
        for path in ("/mcp", "/mcp/calc"):
            assert task_id(await hub(about("tasks/get", shown, path=path))) == shown
        refused = await hub(about("tasks/get", shown, path="/mcp/files"))
        assert (refused.status, refused.code) == (400, -32602)
        assert hub["files"].sent == [one for one in hub["files"].sent if "tasks/" not in one.method]


@virtual_time()
async def test_ids_of_others_edited_and_unknown_ones_are_all_the_same_unknown_id():
    """A38."""
    async with hub_with() as hub:
        shown = task_id(await hub(call()))
        begun = len(hub["calc"].sent)
        facts, signature = shown.split(".")
        wrong = [
            "t-1", "", "a.b.c", "é", "x" * 9_000, f"{facts}.{signature[:-1]}", f"{facts}.",
            f".{signature}", f"{facts}A.{signature}", f"{facts}.{signature}.{signature}",
        ]  # fmt: skip
        refusals = [await hub(about("tasks/get", one)) for one in wrong if one]
        refusals += [await hub(about("tasks/get", shown, caller=BERT))]
        assert {(one.status, one.code, one.json["error"]["message"]) for one in refusals} == {
            (400, -32602, "Unknown task")
        }
        assert (await hub(about("tasks/get", ""))).code == -32602
        assert len(hub["calc"].sent) == begun


@virtual_time()
async def test_who_did_not_declare_tasks_is_told_so_and_an_old_client_has_none():
    async with hub_with() as hub:
        shown = task_id(await hub(call()))
        for declared in ({}, {"extensions": {}}, {"extensions": {TASKS: 1}}, {"extensions": []}):
            refused = await hub(about("tasks/get", shown, declared=declared))
            assert (refused.status, refused.code) == (400, -32021)
            assert refused.json["error"]["data"]["requiredCapabilities"] == DECLARED
        begin = await hub(initialize(capabilities=DECLARED, path="/mcp/calc"))
        session = begin.header(b"mcp-session-id")
        old = legacy("tasks/get", {"taskId": shown}, session=session, path="/mcp/calc")
        assert (await hub(old)).code == -32601
        for method in ("tasks/list", "tasks/result"):
            assert (await hub(about(method, shown))).code == -32601


@pytest.mark.parametrize("old", [False, True])
@virtual_time()
async def test_a_task_for_who_did_not_ask_for_any_is_the_servers_error(old):
    async with hub_with() as hub:
        if old:
            begin = await hub(initialize(capabilities=DECLARED, path="/mcp/calc"))
            session = begin.header(b"mcp-session-id")
            asked = await hub(legacy("tools/call", ADD, session=session, path="/mcp/calc"))
        else:
            asked = await hub(call(declared={}))
        data = asked.json["error"]["data"]
        assert (data["code"], data["executed"]) == ("upstream_protocol", "unknown")


@pytest.mark.parametrize(
    "act",
    [
        begins(b'""'), begins(b"7"), begins(b'"%b"' % (b"x" * (SERVERS_ID_MAX + 1))),
        result(b'{"resultType":"task"}', result_type="task"),
    ],
)  # fmt: skip
@virtual_time()
async def test_an_id_that_cannot_travel_is_the_servers_error(act):
    async with hub_with(add=act) as hub:
        asked = await hub(call())
        assert asked.json["error"]["data"]["code"] == "upstream_protocol"


@virtual_time()
async def test_only_a_tools_call_begins_a_task():
    read = begins()
    async with hub_with(**{"a:b": read}) as hub:
        asked = modern(
            "resources/read", {"uri": "a:b"}, meta={CAPABILITIES: DECLARED}, path="/mcp/calc"
        )
        assert (await hub(asked)).json["error"]["data"]["code"] == "upstream_protocol"


@virtual_time()
async def test_a_task_of_a_fallback_is_asked_for_there_and_nowhere_else():
    calc = server("calc", fallbacks=("spare",))

    def first(fake):
        fake.answers["add"] = REFUSED

    def second(fake):
        fake.answers["add"] = begins()
        fake.answers["tasks/get"] = result(b'{"resultType":"complete","taskId":"t-1"}')
        fake.answers["tasks/cancel"] = lost()

    async with doors(calc, "spare", prepare={"calc": first, "spare": second}) as hub:
        shown = task_id(await hub(call()))
        assert "spare" not in shown
        asked = await hub(about("tasks/get", shown))
        assert task_id(asked) == shown
        await hub(about("tasks/cancel", shown))
        methods = [one.method for one in hub["calc"].sent]
        assert not [one for one in methods if one.startswith("tasks/")]
        assert hub["spare"].executed("t-1") == 2


@virtual_time()
async def test_only_to_look_at_a_task_is_tried_again():
    answers = {"tasks/get": [lost(), result(b'{"resultType":"complete"}')],
               "tasks/update": lost(), "tasks/cancel": lost()}  # fmt: skip
    async with hub_with(**answers) as hub:
        shown = task_id(await hub(call()))
        assert "error" not in (await hub(about("tasks/get", shown), 3)).json
        for method in ("tasks/update", "tasks/cancel"):
            refused = await hub(about(method, shown), 3)
            assert refused.json["error"]["data"]["code"] == "outcome_unknown"
        tried = [one.method for one in hub["calc"].sent if one.method.startswith("tasks/")]
        assert tried == ["tasks/get", "tasks/get", "tasks/update", "tasks/cancel"]


@virtual_time()
async def test_a_key_that_may_no_longer_call_the_tool_has_no_task_of_it():
    async with hub_with(**{"tasks/get": OK}) as hub:
        shown = task_id(await hub(call()))
        for allow, code in ((("calc__add",), None), (("calc__other",), -32602)):
            limited = structs.replace(ANNA, reach=Reach(ToolSet(allow), None))
            asked = await hub(about("tasks/get", shown, caller=limited))
            assert asked.json.get("error", {}).get("code") == code
        reader = structs.replace(ANNA, reach=Reach(ToolSet(("*",), (), True), None))
        assert (await hub(about("tasks/cancel", shown, caller=reader))).code == -32602


@virtual_time()
async def test_what_a_server_says_in_the_hubs_name_is_taken_out_of_its_tasks_too():
    """A34."""
    forged = b'{"content":[],"_meta":{"io.agenthub/served_by":"x","a.b/c":1}}'
    got = result(b'{"resultType":"complete","taskId":"other","result":%b}' % forged)
    ours = result(b'{"resultType":"complete","error":{"code":-31002,"message":"no"}}')
    other = result(b'{"resultType":"complete","error":{"code":-32603,"message":"no"}}')
    async with hub_with(**{"tasks/get": [got, ours, other]}) as hub:
        shown = task_id(await hub(call()))
        asked = await hub(about("tasks/get", shown))
        assert task_id(asked) == shown
        assert asked.result["result"] == {"content": [], "_meta": {"a.b/c": 1}}
        assert (await hub(about("tasks/get", shown))).json["error"]["data"]["code"] == (
            "upstream_protocol"
        )
        asked = await hub(about("tasks/get", shown))
        assert asked.result["error"] == {"code": -32603, "message": "no"}


@virtual_time()
async def test_a_task_asks_what_its_client_answers_and_says_who_asks():
    """A36."""
    asks = {"k": {"method": "elicitation/create", "params": {"message": "Your name?"}}}
    got = result(msgspec.json.encode({"resultType": "complete", "inputRequests": asks}))
    able = {**DECLARED, "elicitation": {}}
    async with hub_with(**{"tasks/get": got}) as hub:
        shown = task_id(await hub(call()))
        refused = await hub(about("tasks/get", shown))
        assert refused.json["error"]["code"] == -32021
        for path, message in (("/mcp/calc", "Your name?"), ("/mcp", "calc: Your name?")):
            asked = await hub(about("tasks/get", shown, declared=able, path=path))
            assert asked.result["inputRequests"]["k"]["params"] == {"message": message}


@virtual_time()
async def test_links_in_a_tasks_result_can_be_read_where_many_servers_meet():
    link = b'{"type":"resource_link","uri":"a:b","name":"n"}'
    got = result(b'{"resultType":"complete","result":{"content":[%b]}}' % link)
    async with hub_with(**{"tasks/get": got}) as hub:
        shown = task_id(await hub(call({"name": "calc__add"}, path="/mcp")))
        for path, uri in (("/mcp", "agenthub://calc/a:b"), ("/mcp/calc", "a:b")):
            asked = await hub(about("tasks/get", shown, path=path))
            assert asked.result["result"]["content"][0]["uri"] == uri


@virtual_time()
async def test_a_server_that_does_not_know_the_task_any_more_says_so_itself():
    async with hub_with(**{"tasks/get": error(-32602)}) as hub:
        shown = task_id(await hub(call()))
        assert (await hub(about("tasks/get", shown))).code == -32602


@virtual_time()
async def test_tasks_of_the_old_era_are_not_offered():
    """Their methods are others."""
    from agenthub.domain.call import Era

    def old(fake):
        fake.era = Era.LEGACY
        fake.capabilities = {"tools": {}, "extensions": {TASKS: {}, "a.b/c": {}}}

    async with doors("calc", prepare={"calc": old}) as hub:
        found = (await hub(modern("server/discover"))).result
        assert found["capabilities"]["extensions"] == {"a.b/c": {}}


@virtual_time()
async def test_two_answers_to_a_tasks_questions_are_two_requests_under_one_key():
    answers = {"tasks/update": result(b'{"resultType":"complete"}')}
    async with hub_with(**answers) as hub:
        shown = task_id(await hub(call()))
        key = {"io.agenthub/idempotencyKey": "k"}
        asked = []
        for action in ("accept", "decline"):
            params = {"taskId": shown, "inputResponses": {"k": {"action": action}}}
            meta = {CAPABILITIES: DECLARED, **key}
            asked.append(await hub(modern("tasks/update", params, meta=meta, path="/mcp/calc")))
        assert "error" not in asked[0].json
        assert asked[1].json["error"]["data"]["code"] == "idempotency_conflict"


NAMES = st.text(min_size=1, max_size=40)


@given(NAMES, NAMES, NAMES, NAMES, NAMES)
@example("calc", "add", "calc", 'é"\\', "anna")
def test_what_is_sealed_opens_unchanged_for_its_caller_and_its_server_alone(
    endpoint, tool_name, has_it, own, principal
):
    task = Task(endpoint, tool_name, has_it, own)
    text = IDS.close(principal, task)
    assert IDS.open(text, principal, [has_it]) == task
    assert text.isascii()
    for who, servers, ids in (
        (principal + "x", [has_it], IDS),
        (principal, [endpoint + "x"], IDS) if endpoint != has_it else (principal + "y", [], IDS),
        (principal, [has_it], TaskIds(b"another")),
    ):
        with pytest.raises(UnknownTask):
            ids.open(text, who, servers)


def test_a_hub_with_the_same_secret_knows_the_task():
    """After a restart, or beside the first."""
    task = Task("calc", "add", "calc", "t")
    assert TaskIds(SECRET).open(IDS.close("anna", task), "anna", ()) == task
