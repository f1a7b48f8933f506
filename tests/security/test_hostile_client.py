"""Clients of a real hub that ask for too much, read too little, and try every other door."""

import json
import re
import resource
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.exchange import initialize, legacy, modern, post
from support.serve_hub import config, serving, until
from support.wire_client import ALL, YES, Wire, address, shut, small

LIAR = Path(__file__).parents[1] / "support/stdio_servers/liar.py"
SESSION = b"mcp-session-id"
NOBODY = {"io.modelcontextprotocol/clientCapabilities": {}}
LIMITS = "limits: {connections: 400, client_buffer_bytes: 65536, answer_ms: 20000}\n"


def endpoint(name, **more):
    return {
        "name": name, "command": [sys.executable, "-S", str(LIAR)], "rate_limit": None,
        "concurrency": 200, "private_sessions": 20, **more,
    }  # fmt: skip


@contextmanager
def a_hub(folder, text=LIMITS):
    home = folder / "home"
    config(home, text)
    with serving(home, "--no-demo") as served:
        for name in ("liar", "hidden"):
            assert served.ask("POST", "/api/endpoints", endpoint(name))[0] == 201
        yield served.until_well("liar", "hidden")
        if served.process.poll() is None:
            assert served.stop() == 0
        assert "Traceback" not in served.words(), served.words()
        assert " ERROR " not in served.words(), served.words()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with a_hub(tmp_path_factory.mktemp("crowded")) as served:
        yield served


def client(hub, path="/mcp", **more):
    status, made = hub.ask("POST", "/api/keys", {"name": "k", "scopes": ["tools"], **more})
    assert status == 201, made
    return Wire(hub, made["key"], path)


def text(message):
    return message["result"]["content"][0]["text"]


def is_well(wire):
    return text(wire.call("liar__well", meta=NOBODY)) == "well"


def code(message):
    return message["error"]["data"]["code"]


# ---------------------------------------------------------------- too many


def test_a60_one_client_cannot_take_all_time_with_connections(hub):
    """More than there may be, idle, half and reset: those over the bound are told so."""
    anna = client(hub)
    with ExitStack() as open_ones:
        kept = [open_ones.enter_context(socket.create_connection(address(hub))) for _ in range(450)]
        kept[-1].settimeout(5)
        assert b" 503 " in kept[-1].recv(100)
        for one in kept[:100]:
            one.close()
        for one in kept[100:200]:
            one.sendall(b"POST /mcp HTTP/1.1\r\nhost:")
        waited = []
        until(lambda: "result" in anna.call("liar__well", meta=NOBODY), what="room")
        for _ in range(20):
            began = time.monotonic()
            assert is_well(anna)
            waited.append(time.monotonic() - began)
        assert sorted(waited)[10] < 1


def test_a60_sessions_without_end_end_nobody_elses_call(hub):
    anna, bert = client(hub).begin(), client(hub)
    with shut(anna.legacy("tools/call", {"name": "liar__ask", "arguments": {}})) as asked:
        question = asked.message()
        before, line = hub.resident_kib(), small(hub, 1 << 20)
        fifty = 50 * raw(bert, initialize(capabilities=ALL).request)
        for _ in range(202):
            line.sendall(fifty)
            heard = b""
            while heard.count(b"HTTP/1.1 200") < 50 or not heard.endswith(b"}"):
                heard += line.recv(1 << 16)
        line.close()
        assert hub.resident_kib() - before < 60 * 1024
        anna.answer(question["id"], YES)
        assert "result" in asked.last()


@pytest.mark.parametrize("kind", ["listen", "stream", "sse"])
def test_a61_a_key_has_so_many_streams_and_others_have_theirs(hub, kind):
    def open_one(wire):
        if kind == "listen":
            return wire.listen()
        if kind == "sse":
            return wire.get("/sse")
        wire.begin()
        return wire.get("/mcp", (SESSION, wire.session))

    anna = client(hub)
    with ExitStack() as streams:
        opened = [streams.enter_context(shut(open_one(anna))) for _ in range(103)]
        statuses = [one.status for one in opened]
        assert statuses[:100] == [200] * 100
        last = opened[-1].message()
        assert code(last) == "overloaded", last
        with shut(open_one(client(hub))) as other:
            assert other.status == 200
        assert is_well(anna)
    until(lambda: _opens(open_one, anna), what="a place that is free again")


def _opens(open_one, wire):
    with shut(open_one(wire)) as stream:
        return stream.status == 200 and "event-stream" in stream.headers["content-type"]


def test_unanswered_questions_take_little_memory(hub):
    """Eleven calls of a caller may wait on this server; each is let be, and there is room."""
    anna = client(hub)
    assert is_well(anna)
    before = hub.resident_kib()
    asked = [anna.call("liar__ask") for _ in range(16)]
    waiting = [one for one in asked if one["result"]["resultType"] == "input_required"]
    assert len(waiting) == 11
    assert (hub.resident_kib() - before) / 11 < 500, "a process's pipes and buffers beside it"
    assert is_well(client(hub))
    for one in waiting:
        assert "error" not in anna.go_on(one, "liar__ask")


# ---------------------------------------------------------------- too slow


@pytest.mark.parametrize("kind", ["answer", "call's stream", "sse"])
def test_a35_who_does_not_read_costs_a_bounded_memory_and_nobody_else_anything(hub, kind):
    anna, bert = client(hub), client(hub)
    before = hub.resident_kib()
    tool, arguments = ("huge", {"bytes": 5_000_000}) if kind == "answer" else ("flood", {})
    params = {"name": f"liar__{tool}", "arguments": arguments, "_meta": {"progressToken": "p"}}
    if kind == "sse":
        slow = _sse_call(hub, anna, params)
    else:
        slow = small(hub, 4_096)
        exchange = modern("tools/call", params, meta={**NOBODY, "progressToken": "p"})
        slow.sendall(raw(anna, exchange.request))
    try:
        began = time.monotonic()
        while time.monotonic() - began < 1:
            assert is_well(bert)
        assert hub.resident_kib() - before < 40 * 1024
    finally:
        slow.close()
    assert is_well(anna)


def raw(wire, request):
    """A request's bytes, for a socket that is not read."""
    sent = {k.decode(): v.decode() for k, v in request.headers}
    sent |= {
        "host": "{}:{}".format(*address(wire.hub)), "authorization": f"Bearer {wire.token}",
        "content-type": "application/json", "content-length": str(len(request.body)),
    }  # fmt: skip
    query = f"?{request.query.decode()}" if request.query else ""
    head = [f"{request.method} {request.path}{query} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in sent.items()]
    return "\r\n".join([*head, "", ""]).encode() + request.body


def _sse_call(hub, wire, params):
    slow = small(hub, 4_096)
    get = post(b"", [(b"accept", b"text/event-stream")], "/sse", method="GET")
    slow.sendall(raw(wire, get.request))
    began = b""
    while not re.search(rb"/messages\?\S+\n", began):
        began += slow.recv(1_000)
    query = re.search(rb"/messages\?(\S+)", began)[1]
    for asked in (initialize(), legacy("notifications/initialized", message_id=False),
                  legacy("tools/call", params)):  # fmt: skip
        said = post(asked.request.body, (), "/messages")
        line = hub.connection()
        line.request(
            "POST", f"/messages?{query.decode()}", said.request.body,
            {"authorization": f"Bearer {wire.token}", "content-type": "application/json"},
        )  # fmt: skip
        assert line.getresponse().status == 202
        line.close()
    return slow


# ---------------------------------------------------------------- one for another


def test_a15_a40_two_clients_with_one_id_have_an_answer_each(hub):
    """And neither ends the other's by it."""
    anna, bert = client(hub).begin(), client(hub).begin()
    slow = {"name": "liar__slow", "arguments": {"seconds": 0.5}}
    with (
        shut(anna.legacy("tools/call", slow, message_id=7)) as hers,
        shut(
            bert.legacy("tools/call", {"name": "liar__pid", "arguments": {}}, message_id=7)
        ) as his,
        shut(
            anna.legacy("tools/call", {"name": "liar__pid", "arguments": {}}, message_id=7)
        ) as two,
    ):
        gone = legacy(
            "notifications/cancelled", {"requestId": 7}, session=bert.session, message_id=False
        )
        assert bert.send(gone)[0] == 202
        assert text(his.last()).isdigit()
        assert text(two.last()).isdigit()
        assert text(hers.last()) == "slow"


def test_a17_a_session_of_another_opens_nothing(hub):
    anna, bert = client(hub).begin(), client(hub)
    for request in (
        legacy("tools/list", session=anna.session),
        legacy("tools/list", session=anna.session, path="/mcp/liar"),
        legacy("tools/list", session=anna.session + b"x"),
        post(b"", [(b"accept", b"text/event-stream"), (SESSION, anna.session)], method="GET"),
        post(b"", [(SESSION, anna.session)], method="DELETE"),
    ):
        assert bert.send(request)[0] == 404
    with shut(anna.get("/sse")) as stream:
        where = stream.event()[1].partition("?")[2].encode()
        said = post(initialize().request.body, (), "/messages")
        said.request = type(said.request)("POST", "/messages", where, (), said.request.body)
        assert bert.send(said)[0] == 404
    assert anna.send(legacy("tools/list", session=anna.session))[0] == 200


def test_a18_what_a_key_may_not_touch_is_behind_no_door(hub):
    """A key with a set of tools: calls, lists, REST, `call_tool`, views, one server's own face."""
    terms = {"tools": {"allow": ["liar__well"]}}
    searches = {**terms, "search": "on"}
    view = {
        "name": "wide",
        "allow": ["liar__*", "hidden__*"],
        "names": {"s": {"target": "liar__secret"}},
    }
    assert hub.ask("POST", "/api/views", view)[0] == 201
    anna = client(hub, terms=terms, scopes=["tools", "read"])
    searching = client(hub, terms=searches)
    assert is_well(anna)
    refusals = [
        anna.call("liar__secret"), anna.call("hidden__well"), anna.call("s", path="/mcp/v/wide"),
        anna.call("secret", path="/mcp/liar"), anna.call("liar__secret", path="/mcp/v/wide"),
        searching.call("call_tool", {"name": "liar__secret"}), searching.call("liar__secret"),
        searching.call("call_tool", {"name": "hidden__well", "arguments": {}}),
        searching.call("call_tool", {"name": "call_tool", "arguments": {"name": "liar__secret"}}),
    ]  # fmt: skip
    assert {code(one) for one in refusals} == {"unknown_target"}, refusals
    assert text(searching.call("call_tool", {"name": "liar__well"})) == "well"
    old = anna.begin()
    for name in ("liar__secret", "hidden__well"):
        with shut(old.legacy("tools/call", {"name": name, "arguments": {}})) as answer:
            assert code(answer.last()) == "unknown_target"
    for tool in ({"server": "liar", "tool": "secret"}, {"server": "hidden", "tool": "well"}):
        status, _ = hub.ask("POST", "/api/tools/call", {**tool, "arguments": {}}, token=anna.token)
        assert status == 404
    seen = [
        anna.modern("tools/list"), anna.modern("tools/list", path="/mcp/v/wide"),
        anna.modern("tools/list", path="/mcp/liar"), anna.modern("server/discover"),
        searching.call("search_tools", {"query": "secret hidden well"}),
        *(hub.ask("GET", path, token=anna.token)[1]
          for path in ("/api/tools", "/api/endpoints", "/api/views")),
    ]  # fmt: skip
    for one in seen:
        told = json.dumps(one)
        assert "hidden" not in told, told
        assert "secret" not in told, told
    assert client(hub).call("liar__secret", meta=NOBODY)
    read = hub.ask("GET", "/api/calls", token=anna.token)[1]["calls"]
    others = [one["name"] for one in read if one["caller"] != anna.token.split("_")[1]]
    assert set(others) <= {"well"}
    for method, params in (
        ("prompts/get", {"name": "hidden__p"}), ("resources/read", {"uri": "agenthub://hidden/x"}),
        ("completion/complete",
         {"ref": {"type": "ref/prompt", "name": "hidden__p"}, "argument": {}}),
    ):  # fmt: skip
        assert anna.modern(method, params)["error"]["code"] == -32602
    assert hub.ask("DELETE", "/api/views/wide")[0] == 204


def test_a_view_is_removed_under_a_session_a_stream_and_a_parked_call(hub):
    assert hub.ask("POST", "/api/views", {"name": "brief", "allow": ["liar__*"]})[0] == 201
    anna = client(hub, "/mcp/v/brief").begin()
    asked = anna.call("liar__ask")
    news = anna.get("/mcp/v/brief", (SESSION, anna.session))
    with shut(news) as stream, shut(anna.get("/sse/v/brief")) as old:
        assert old.event()[0] == "endpoint"
        assert hub.ask("DELETE", "/api/views/brief")[0] == 204
        assert stream.message() is None
        assert old.event() is None
    for request in (
        legacy("tools/list", session=anna.session, path=anna.path),
        modern("tools/list", path=anna.path),
    ):
        assert anna.send(request)[0] == 404
    assert "error" in anna.go_on(asked, "liar__ask")
    elsewhere = anna.go_on(asked, "liar__ask", path="/mcp")
    assert elsewhere["error"]["message"] == "invalid or expired requestState", "its address is gone"


def test_a46_a_key_of_idempotency_is_its_callers_and_its_calls(hub):
    anna, bert = client(hub), client(hub)
    key = {**NOBODY, "io.agenthub/idempotencyKey": "k1"}
    first = anna.call("liar__slow", {"seconds": 0}, meta=key)
    again = anna.call("liar__slow", {"seconds": 0}, meta=key)
    assert text(first) == text(again) == "slow"
    assert code(anna.call("liar__slow", {"seconds": 1}, meta=key)) == "idempotency_conflict"
    his = bert.call("liar__slow", {"seconds": 0.01}, meta=key)
    assert text(his) == "slow", "his own: no conflict tells him that it is in use"


# ---------------------------------------------------------------- the end


def test_the_hub_stops_in_time_with_parked_calls_and_streams_of_all_kinds(tmp_path):
    with a_hub(tmp_path, LIMITS.replace("answer_ms", "drain_ms: 3000, answer_ms")) as hub:
        anna = client(hub)
        for _ in range(10):
            assert anna.call("liar__ask")["result"]["resultType"] == "input_required"
        old = client(hub).begin()
        with ExitStack() as streams:
            live = old.legacy("tools/call", {"name": "liar__ask", "arguments": {}})
            opened = [
                live, anna.listen(), anna.get("/sse"), old.get("/mcp", (SESSION, old.session)),
            ]  # fmt: skip
            for one in opened:
                streams.enter_context(shut(one))
            assert live.message()["method"] == "elicitation/create"
            idle = streams.enter_context(socket.create_connection(address(hub)))
            family, began = hub.family(), time.monotonic()
            assert hub.stop() == 0
            assert time.monotonic() - began < 3, "nobody waits for answers"
            assert code(live.last())
            assert idle.recv(1) == b""
        assert "Traceback" not in hub.words()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), what="the end")


assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1_000, "a client of 450 connections"
