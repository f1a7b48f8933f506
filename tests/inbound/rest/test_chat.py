"""`/api/chat`: a run by its id, its events again and again, and conversations."""

import asyncio
import json

import pytest
from msgspec import Raw, structs
from support.rest_hub import USER

from agenthub.agents.events import Piece
from agenthub.agents.terms import Stopped
from agenthub.domain.caller import Caller, Scope
from agenthub.domain.dialogue import Message, Role, ToolCall
from agenthub.inbound.rest.chat import RunStream

CHAT = "/api/chat"
ANNA = Caller("anna", frozenset({Scope.LLM}))
BERT = structs.replace(ANNA, id="bert")


async def started(rest, text="Hello", as_=ANNA, **more):
    answer = await rest.post(CHAT, {"message": text, **more}, as_=as_)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def events(rest, run, as_=ANNA, **headers):
    answer = await rest.get(f"{CHAT}/runs/{run}/events", as_=as_, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            said = json.loads(lines["data"])
            found.append((lines.get("id"), lines["event"], said))
    return found


async def test_an_answer_is_a_run_whose_events_are_read_and_read_again(rest, hub):
    run = await started(rest)
    assert run["state"] == "running"
    assert (run["model"], run["cost_usd"]) == ("demo-1", "0.00")
    whole = await events(rest, run["run"])
    assert [name for _, name, _ in whole] == ["run", "delta", "delta", "done"]
    assert all(name == said["type"] for _, name, said in whole)
    assert [number for number, _, _ in whole] == ["1", "2", "3", "4"]
    assert await events(rest, run["run"], **{"last-event-id": "2"}) == whole[2:]
    assert await events(rest, run["run"], **{"last-event-id": "odd"}) == whole
    shown = (await rest.get(f"{CHAT}/runs/{run['run']}", as_=ANNA)).json()
    assert (shown["state"], shown["problem"]) == ("done", "")
    assert hub.runner.tasks[0].door == "chat"


async def test_what_is_wished_reaches_the_run(rest, hub):
    page = {"title": "A shop", "url": "https://shop.test/", "text": "Buy!"}
    run = await started(rest, model="m", page=page, approval="all", max_cost_usd="0.25", as_=ANNA)
    await events(rest, run["run"])
    (task,) = hub.runner.tasks
    assert (task.model, task.approval, task.has_page) == ("m", "all", True)
    assert task.limits.cost == 250_000_000
    assert task.messages[-1].context == "A shop\nhttps://shop.test/\nBuy!"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"message": " "}, 400, "message"), ({}, 400, "message"),
        ({"message": "x", "model": "none"}, 404, "none"),
        ({"message": "x", "conversation": "none"}, 404, "conversation"),
        ({"message": "x", "approval": "no"}, 400, "approval"),
        ({"message": "x", "max_cost_usd": "-1"}, 400, "decimal text"),
        ({"message": "x", "page": {"title": "x"}}, 400, "text"),
        ({"message": "x", "more": 1}, 400, "more"),
    ],
)  # fmt: skip
async def test_what_cannot_be_started_is_refused_in_words(rest, hub, body, status, words):
    answer = await rest.post(CHAT, body, as_=ANNA)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert not hub.runner.tasks


async def test_a_failure_is_told_by_the_run(rest, hub):
    async def script(task, desk):
        raise Stopped("run_limit", "Enough.")

    hub.runner.script = script
    run = await started(rest)
    assert (await events(rest, run["run"]))[-2][2]["message"] == "Enough."
    shown = (await rest.get(f"{CHAT}/runs/{run['run']}", as_=ANNA)).json()
    assert (shown["state"], shown["problem"]) == ("failed", "Enough.")


async def test_a_tool_waits_for_a_word_and_a_server_for_an_answer(rest, hub):
    heard = []

    async def script(task, desk):
        heard.append(await desk.approve("1", "disk", "wipe", Raw(b"{}"), "it may"))
        heard.append(await desk.elicit("disk", b'{"message":"Sure?"}'))

    hub.runner.script = script
    run = (await started(rest))["run"]
    reading = asyncio.ensure_future(events(rest, run))
    await asyncio.sleep(0.01)
    post = rest.post
    said = await post(f"{CHAT}/runs/{run}/approve", {"id": "1", "allow": True}, as_=ANNA)
    assert said.status_code == 200
    await asyncio.sleep(0.01)
    wrong = await post(f"{CHAT}/runs/{run}/answer", {"id": "e1", "action": "x"}, as_=ANNA)
    assert wrong.status_code == 400
    answer = {"id": "e1", "action": "accept", "content": {"yes": True}}
    assert (await post(f"{CHAT}/runs/{run}/answer", answer, as_=ANNA)).status_code == 200
    assert (await reading)[-1][2]["state"] == "done"
    assert heard == [True, b'{"action":"accept","content":{"yes":true}}']
    late = await post(f"{CHAT}/runs/{run}/approve", {"id": "1", "allow": True}, as_=ANNA)
    assert late.status_code == 404


async def test_it_is_stopped_by_its_caller_and_nobody_else(rest, hub):
    async def script(task, desk):
        desk.tell(Piece("We"))
        await asyncio.Event().wait()

    hub.runner.script = script
    run = (await started(rest))["run"]
    for path in ("", "/events"):
        assert (await rest.get(f"{CHAT}/runs/{run}{path}", as_=BERT)).status_code == 404
    assert (await rest.post(f"{CHAT}/runs/{run}/cancel", as_=BERT)).status_code == 404
    assert (await rest.post(f"{CHAT}/runs/{run}/cancel", as_=ANNA)).status_code == 200
    assert (await events(rest, run))[-1][2]["state"] == "cancelled"
    assert (await rest.post(f"{CHAT}/runs/{run}/cancel", as_=ANNA)).json()["state"] == "cancelled"


async def test_conversations_are_listed_read_renamed_exported_and_deleted(rest, hub):
    first = await started(rest, "One")
    await events(rest, first["run"])
    second = await started(rest, "Two")
    await events(rest, second["run"])
    await started(rest, "Three", as_=BERT)
    listed = (await rest.get(f"{CHAT}/conversations?limit=1", as_=ANNA)).json()
    assert len(listed["conversations"]) == 1
    more = f"{CHAT}/conversations?limit=2&before={listed['next_before']}"
    rest_of = (await rest.get(more, as_=ANNA)).json()
    names = {one["title"] for one in (*listed["conversations"], *rest_of["conversations"])}
    assert (names, rest_of["next_before"]) == ({"One", "Two"}, None)
    assert len((await rest.get(f"{CHAT}/conversations")).json()["conversations"]) == 3
    assert (await rest.get(f"{CHAT}/conversations?before=x", as_=ANNA)).status_code == 400
    name = f"{CHAT}/conversations/{first['conversation']}"
    read = (await rest.get(name, as_=ANNA)).json()
    assert [one["message"] for one in read["messages"]] == [
        {"role": "user", "text": "One"}, {"role": "assistant", "text": "You said: One"}
    ]  # fmt: skip
    assert (read["runs"][0]["state"], read["next_after"]) == ("done", None)
    assert (await rest.get(f"{name}?after=1", as_=ANNA)).json()["messages"][0]["number"] == 2
    renamed = await rest("PUT", name, json={"title": "New"}, as_=ANNA)
    assert renamed.json()["title"] == "New"
    exported = await rest.get(f"{name}/export", as_=ANNA)
    assert exported.headers["content-type"].startswith("text/markdown")
    assert exported.text.startswith("# New\n")
    assert (await rest.get(name, as_=BERT)).status_code == 404
    assert (await rest("DELETE", name, as_=ANNA)).status_code == 204
    assert (await rest.get(name, as_=ANNA)).status_code == 404


async def test_an_export_shows_all_that_was_said(rest, hub, monkeypatch):
    monkeypatch.setattr("agenthub.inbound.rest.chat.EXPORT_PAGE", 2)
    run = await started(rest, "Hi", page={"text": "A page\nof two lines"})
    await events(rest, run["run"])
    call = ToolCall("1", "calc__add", '{"a":1}')
    await hub.talk.add(
        run["conversation"], "r",
        [Message(Role.ASSISTANT, "", calls=(call,)), Message(Role.TOOL, "5", tool="calc__add")], 1,
    )  # fmt: skip
    text = (await rest.get(f"{CHAT}/conversations/{run['conversation']}/export", as_=ANNA)).text
    assert "> A page\n> of two lines\n" in text
    assert '- calc__add `{"a":1}`' in text
    assert "## 4. tool calc__add\n\n    5\n" in text


async def test_only_who_may_ask_models_may_chat(rest):
    assert (await rest.post(CHAT, {"message": "x"}, as_=USER)).status_code == 403


async def test_what_is_forgotten_is_told_and_a_follower_that_goes_is_let_go(rest, hub):
    async def script(task, desk):
        for number in range(9):
            desk.tell(Piece(str(number)))
        await asyncio.Event().wait()

    hub.runner.script = script
    run = hub.runs.running((await started(rest))["run"], ANNA)
    await asyncio.sleep(0.01)
    run._events.popleft()
    run._events.popleft()
    gone, sent = asyncio.Event(), []

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message.get("body", b""))

    following = asyncio.ensure_future(RunStream(run, 0)({}, receive, send))
    await asyncio.sleep(0.01)
    assert b'event: dropped\ndata: {"events":2}' in b"".join(sent)
    gone.set()
    await following
    assert not run._news
