"""A hub in front of a server that lies: late, twice, for others, without end, and dying."""

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.serve_hub import serving, until
from support.wire_client import YES, Wire, shut

LIAR = Path(__file__).parents[1] / "support/stdio_servers/liar.py"
HUNG = LIAR.with_name("hung.py")
NOBODY = {"io.modelcontextprotocol/clientCapabilities": {}}
FORMS = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
PATIENT = {"failure_threshold": 1_000, "min_calls": 1_000}
INVALID_STATE = (-32602, "invalid or expired requestState")


def endpoint(name, script=LIAR, **more):
    command = [sys.executable, "-S", str(script)]
    return {"name": name, "command": command, "rate_limit": None, "breaker": PATIENT, **more}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    home = tmp_path_factory.mktemp("lied-to") / "home"
    with serving(home, "--no-demo") as served:
        for name in ("liar", "other"):
            assert served.ask("POST", "/api/endpoints", endpoint(name))[0] == 201
        yield served.until_well("liar", "other")
        assert served.stop() == 0
        assert "Traceback" not in served.words()
        assert " ERROR " not in served.words()


@pytest.fixture
def anna(hub):
    return client(hub)


def client(hub, **more):
    status, made = hub.ask("POST", "/api/keys", {"name": "k", "scopes": ["tools"], **more})
    assert status == 201, made
    found = Wire(hub, made["key"])
    found.key_id = made["id"]
    return found


@contextmanager
def one_more(hub, name, script=LIAR, **more):
    """A server for one test."""
    assert hub.ask("POST", "/api/endpoints", endpoint(name, script, **more))[0] == 201
    try:
        yield script is HUNG or hub.until_well(name)
    finally:
        hub.ask("DELETE", f"/api/endpoints/{name}")


def text(message):
    return message["result"]["content"][0]["text"]


def is_question(message):
    return message["result"]["resultType"] == "input_required"


def code(message):
    return message["error"]["data"]["code"]


def in_flight(hub):
    line = hub.connection()
    line.request("GET", "/metrics", headers={"authorization": f"Bearer {hub.token}"})
    words = line.getresponse().read().decode().split("\nagenthub_calls_in_flight ")
    line.close()
    return int(words[1].split()[0])


def refused(message):
    return message["error"]["code"], message["error"]["message"]


def speaking(wire, tool, answer=YES, **arguments):
    """A call of the old era, with all that came before its answer; questions are answered."""
    told = []
    params = {"name": f"liar__{tool}", "arguments": arguments, "_meta": {"progressToken": "p"}}
    with shut(wire.legacy("tools/call", params)) as heard:
        while "method" in (message := heard.message()):
            told.append(message)
            if "id" in message:
                wire.answer(message["id"], answer)
    return told, message


@pytest.mark.parametrize("declared", [{}, NOBODY], ids=["asked", "not asked"])
@pytest.mark.parametrize(
    ("tool", "said"), [("late", "done"), ("twice", "first"), ("foreign", "own")]
)
def test_a35_a_call_has_one_answer_and_it_is_its_own(anna, tool, said, declared):
    assert text(anna.call(f"liar__{tool}", meta=declared)) == said
    assert text(anna.call("liar__well", meta=declared)) == "well"


@pytest.mark.parametrize("declared", [FORMS, NOBODY], ids=["forms", "nothing"])
def test_a35_what_was_not_declared_is_not_asked(anna, declared):
    refusals = json.loads(text(anna.call("liar__undeclared", meta=declared)))
    assert refusals == [-32601, -32601, -32601]


def test_a35_who_asks_without_end_is_ended_and_the_next_call_is_served(hub, anna):
    end = anna.call("liar__crowd")
    while "result" in end:  # some of them reached the client before the last was heard
        end = anna.go_on(end, "liar__crowd")
    assert code(end) == "upstream_protocol"
    told, end = speaking(client(hub).begin(), "crowd")
    assert code(end) == "upstream_protocol"
    assert len(told) <= 64, "a question and its withdrawal"
    assert text(anna.call("liar__well")) == "well"


def test_a35_a_flood_of_words_reaches_nobody_else_and_costs_others_little(hub, anna):
    """Nine thousand notifications, of which the one who calls asked for a third."""
    with shut(client(hub).listen()) as beside:
        assert beside.message()["method"].endswith("acknowledged")
        began = time.monotonic()
        assert text(anna.call("liar__flood", meta={"progressToken": "p"})) == "said"
        waited = []
        while time.monotonic() - began < 1:
            start = time.monotonic()
            assert text(anna.call("other__well", meta=NOBODY)) == "well"
            waited.append(time.monotonic() - start)
        assert max(waited) < 1
        with one_more(hub, "newcomer"):
            assert beside.message()["method"] == "notifications/tools/list_changed"


def test_a30_what_turned_meanwhile_is_withheld(hub, anna):
    with one_more(hub, "turner"):
        assert text(anna.call("turner__well", meta=NOBODY)) == "well"
        anna.call("turner__turn", meta=NOBODY)
        until(lambda: hub.get("/api/tools/pending?endpoint=turner")["pending"], what="the turn")
        assert code(anna.call("turner__well")) == "tool_changed"
        assert code(anna.call("turner__new")) == "tool_changed"


@pytest.mark.parametrize("declared", [{}, NOBODY], ids=["asked", "not asked"])
def test_a34_a_result_that_is_too_large_is_an_error_and_no_memory(hub, anna, declared):
    before = hub.resident_kib()
    too_large = anna.call("liar__huge", {"bytes": 11_000_000}, meta=declared)
    assert code(too_large) == "response_too_large"
    assert len(text(anna.call("liar__huge", {"bytes": 9_000_000}, meta=declared))) == 9_000_000
    until(lambda: hub.resident_kib() - before < 60 * 1024, what="the memory back")


def test_a65_line_breaks_of_a_server_begin_no_event(hub, anna):
    words = "a\n\ndata: {}\r\n\r\nevent: x\u2028\u2029\x85b"
    assert text(anna.call("liar__split", meta={"progressToken": "p"})) == words
    wire = client(hub).begin()
    (told,), end = speaking(wire, "split")
    assert told["params"]["message"] == words
    assert text(end) == words


@pytest.mark.parametrize("tool", ["die_now", "die_asked", "die_answered"])
def test_who_dies_in_a_call_is_not_asked_again_whenever_it_dies(hub, tool):
    anna = client(hub)
    asked = anna.call(f"liar__{tool}")
    if "result" in asked:
        time.sleep(0.3 if tool == "die_asked" else 0)
        asked = anna.go_on(asked, f"liar__{tool}")
    assert code(asked) == "outcome_unknown"
    _, end = speaking(client(hub).begin(), tool)
    assert code(end) == "outcome_unknown"
    assert text(anna.call("liar__well")) == "well"


def test_a_server_of_the_old_era_that_makes_up_a_round_gets_none(hub, anna):
    told = anna.call("liar__sealed")["result"]
    assert told["resultType"] == "complete"


def test_a37_a_state_opens_its_own_round_and_no_other(hub, anna):
    bert = client(hub)
    for view, shown in (("some", "liar__well"), ("same", "liar__*")):
        assert hub.ask("POST", "/api/views", {"name": view, "allow": [shown]})[0] == 201
    name = "liar__ask"
    first = anna.call(name)
    assert is_question(first)
    state = first["result"]["requestState"]
    wrong = [
        bert.go_on(first, name), anna.go_on(first, name, {"x": 1}),
        anna.go_on(first, "liar__secret"), anna.go_on(first, "other__ask"),
        anna.go_on(first, "ask", path="/mcp/liar"),
        *(anna.go_on(first, name, path=f"/mcp/v/{view}") for view in ("some", "same")),
        *(anna.go_on(first, name, requestState=bent)
          for bent in (state[:-1], f"{state}x", f"{state}.{state}", "")),
    ]  # fmt: skip
    assert all(refused(one) == INVALID_STATE for one in wrong), wrong
    assert "error" not in anna.go_on(first, name)
    assert refused(anna.go_on(first, name)) == INVALID_STATE, "once"
    for view in ("some", "same"):
        assert hub.ask("DELETE", f"/api/views/{view}")[0] == 204


def test_one_caller_leaves_others_a_seat_of_the_server(hub, anna):
    """Eight seats over stdio; six may wait for answers of callers, four for those of one."""
    asked = [anna.call("liar__ask") for _ in range(8)]
    waiting = [one for one in asked if is_question(one)]
    assert len(waiting) == 4
    bert = client(hub)
    assert text(bert.call("liar__well", meta=NOBODY)) == "well"
    assert text(bert.call("liar__well")) == "well"
    his = [one for one in (bert.call("liar__ask") for _ in range(4)) if is_question(one)]
    assert len(his) == 2, "there are six of all callers"
    assert text(client(hub).call("liar__well", meta=NOBODY)) == "well"
    for one in his:
        assert "error" not in bert.go_on(one, "liar__ask")
    for one in waiting:
        assert "error" not in anna.go_on(one, "liar__ask")


def test_the_server_of_a_parked_call_is_replaced_or_removed(hub, anna):
    assert hub.ask("POST", "/api/endpoints", endpoint("passing"))[0] == 201
    hub.until_well("passing")
    processes = len(hub.family())
    other = endpoint("passing")
    other["command"].append("another")
    replaced, removed = anna.call("passing__ask"), anna.call("passing__ask")
    assert hub.ask("PUT", "/api/endpoints/passing", other)[0] == 200
    assert "error" not in anna.go_on(replaced, "passing__ask"), "the old one ends what it began"
    assert hub.ask("DELETE", "/api/endpoints/passing")[0] == 204
    late = anna.go_on(removed, "passing__ask")
    assert code(late) == "unknown_target", "and who is removed is not there any more"
    until(lambda: len(hub.family()) == processes - 1, what="the end of its processes")


def test_a_key_is_revoked_while_a_call_of_it_is_parked(hub):
    anna = client(hub)
    asked = anna.call("liar__ask")
    assert in_flight(hub) == 1
    with shut(anna.listen()) as stream, shut(anna.get("/sse")) as news:
        assert stream.message()
        assert news.event()[0] == "endpoint"
        assert hub.ask("DELETE", f"/api/keys/{anna.key_id}")[0] == 204
        assert stream.last()["result"]["resultType"] == "complete"
        assert news.event() is None
    until(lambda: in_flight(hub) == 0, what="the end of the call")
    assert anna.go_on(asked, "liar__ask")["code"] == "unauthorized"


def test_a_server_that_never_answers_delays_nobody_else(hub, anna):
    with one_more(hub, "silent", HUNG, timeouts={"connect_ms": 1_000}):
        began = time.monotonic()
        found = anna.call("silent__x", meta={"io.agenthub/deadlineMs": 500})
        assert found["error"]["data"]["executed"] == "no"
        assert text(anna.call("liar__well")) == "well"
        assert time.monotonic() - began < 3
