"""A hub in front of servers that lie over the network, in each transport and era."""

import json
import time
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
from support.network_liar import DATA, running
from support.raw_lies import RAW
from support.serve_hub import serving, until
from support.wire_client import YES, Wire, shut

NOBODY = {"io.modelcontextprotocol/clientCapabilities": {}}
PATIENT = {"failure_threshold": 1_000, "min_calls": 1_000}
EVERY = pytest.mark.parametrize("server", ["new", "old", "sse"])
OLD = pytest.mark.parametrize("server", ["old", "sse"])
HTTP = pytest.mark.parametrize("server", ["new", "old"])
LASTING = {"endless_pings", "drip", "drip_head", "silent", "transfer_gzip"}
"""They say too little to be ended for it; the deadline ends them."""
TOO_LARGE = {
    "ten_thousand_headers", "giant_event", "giant_length",
    *(name for name in RAW if name.startswith("endless_")),
} - LASTING - {"endless_interims"}  # fmt: skip
ENDLESS = ["endless_line", "endless_event", "endless_comments", "giant_event"]
POSTED = [
    "endless_json", "endless_head", "endless_interims", "endless_comments", "drip", "silent",
    "gzip_bomb", "smtp", "chunk_words", "another_protocol", "redirect_307", "authenticate",
]  # fmt: skip
MIB = 1024
"""In KiB."""


@pytest.fixture(scope="module")
def port():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def hub(port, tmp_path_factory):
    home = tmp_path_factory.mktemp("lied-to") / "home"
    with serving(home, "--no-demo") as served:
        for name in ("new", "old", "sse"):
            assert served.ask("POST", "/api/endpoints", endpoint(name, port, name))[0] == 201
        yield served.until_well("new", "old", "sse")
        assert served.stop() == 0
        assert "Traceback" not in served.words()
        assert " ERROR " not in served.words()


def endpoint(name, port, path, **more):
    url = f"http://127.0.0.1:{port}/{path}"
    return {"name": name, "url": url, "rate_limit": None, "breaker": PATIENT, **more}


@contextmanager
def one_more(hub, port, path, **more):
    """A server for one test."""
    assert hub.ask("POST", "/api/endpoints", endpoint("more", port, path, **more))[0] == 201
    try:
        yield
    finally:
        began = time.monotonic()
        assert hub.ask("DELETE", "/api/endpoints/more")[0] == 204
        assert time.monotonic() - began < 3


@pytest.fixture
def anna(hub):
    return client(hub)


def client(hub):
    status, made = hub.ask("POST", "/api/keys", {"name": "k", "scopes": ["tools"]})
    assert status == 201, made
    return Wire(hub, made["key"])


def text(message):
    return message["result"]["content"][0]["text"]


def code(message):
    return message["error"]["data"]["code"]


def call(wire, name, ms=5_000, meta=None):
    """By a client that cannot be asked, within a time."""
    return wire.call(name, meta={**NOBODY, "io.agenthub/deadlineMs": ms, **(meta or {})})


@contextmanager
def others_are_served(hub, wire):
    """What is done here costs others no second and the hub little memory."""
    before = hub.resident_kib()
    yield
    for _ in range(10):
        assert text(call(wire, "new__well")) == "well", "within its time"
    assert hub.resident_kib() - before < 80 * MIB


def seen(port, path):
    """How often the liar was asked at this address."""
    line = HTTPConnection("127.0.0.1", port, timeout=5)
    line.request("GET", "/seen")
    found = json.loads(line.getresponse().read())
    line.close()
    return found.get(path, 0)


# ---------------------------------------------------------------- what it says of calls


@EVERY
@pytest.mark.parametrize(("tool", "said"), [("late", "done"), ("twice", "first")])
def test_a35_a_call_has_one_answer_and_it_is_its_own(anna, server, tool, said):
    for declared in ({}, NOBODY):
        assert text(anna.call(f"{server}__{tool}", meta=declared)) == said
        assert text(anna.call(f"{server}__well", meta=declared)) == "well"


@EVERY
def test_a35_answers_to_others_reach_nobody(anna, server):
    """On a stream of the call's own, another id is a breach; on a shared one, it is nobody's."""
    end = call(anna, f"{server}__foreign")
    if server == "sse":
        assert text(end) == "own"
    else:
        assert code(end) == "upstream_protocol"
    assert text(call(anna, f"{server}__well")) == "well"


@OLD
def test_a35_what_was_not_declared_is_not_asked(anna, server):
    assert text(call(anna, f"{server}__undeclared")) == "[-32601,-32601,-32601]"


def test_a35_a_new_server_that_wants_more_than_the_client_has_is_told_so_to_the_client(anna):
    error = call(anna, "new__undeclared")["error"]
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"sampling": {}}})


@OLD
def test_a35_who_asks_without_end_is_ended_and_the_next_call_is_served(anna, server):
    end = anna.call(f"{server}__crowd")
    while "result" in end:
        end = anna.go_on(end, f"{server}__crowd")
    assert code(end) == "upstream_protocol"
    assert text(call(anna, f"{server}__well")) == "well"


def test_a35_a_new_server_may_not_ask_on_its_stream_at_all(anna):
    assert code(call(anna, "new__crowd", 500)) == "outcome_unknown"
    assert text(call(anna, "new__well")) == "well"


@OLD
def test_what_an_old_server_asks_is_asked_and_answered(anna, server):
    asked = anna.call(f"{server}__ask")
    assert '"accept"' in text(anna.go_on(asked, f"{server}__ask", answer=YES))


@EVERY
def test_a35_a_flood_of_words_costs_others_little(hub, anna, server):
    with others_are_served(hub, client(hub)):
        assert text(call(anna, f"{server}__flood", meta={"progressToken": "p"})) == "said"


@EVERY
def test_a34_the_largest_answer_passes_in_every_way(hub, anna, server):
    with others_are_served(hub, client(hub)):
        assert len(text(call(anna, f"{server}__huge"))) == 9_000_000


@EVERY
def test_a65_line_breaks_of_a_server_begin_no_event(hub, anna, server):
    assert text(call(anna, f"{server}__split", meta={"progressToken": "p"})) == DATA
    wire = client(hub).begin()
    params = {"name": f"{server}__split", "arguments": {}, "_meta": {"progressToken": "p"}}
    with shut(wire.legacy("tools/call", params)) as heard:
        assert heard.message()["params"]["message"] == DATA
        assert text(heard.message()) == DATA


@OLD
def test_a_server_of_the_old_era_that_makes_up_a_round_gets_none(anna, server):
    assert anna.call(f"{server}__sealed")["result"]["resultType"] == "complete"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", ["new", "old", "sse"])
def test_who_dies_in_a_call_is_not_asked_again_and_is_found_when_it_is_back(hub, anna, path):
    with running() as mortal, one_more(hub, mortal, path):
        hub.until_well("more")
        assert code(call(anna, "more__die")) == "outcome_unknown"
        with running(mortal):
            # A server behind a stream is tried after 0.5, 1.5, 4.5, 13.5 s (F03): one that takes
            # five seconds to start, as on a busy machine, is found in twenty.
            until(lambda: "result" in call(anna, "more__well"), 60, "the server that is back")


# ---------------------------------------------------------------- how it says it


@HTTP
@pytest.mark.parametrize("lie", RAW)
def test_an_answer_that_is_none_is_an_error_in_time(hub, anna, server, lie):
    # Where its time ends a call, that is short; where what it says does, it may be read first.
    is_ended_by_time = lie in LASTING or lie == "json_as_stream"
    with others_are_served(hub, anna):
        end = call(anna, f"{server}__{lie}", 500 if is_ended_by_time else 5_000)
    if lie == "authenticate":
        expected = "upstream_unavailable"
    elif is_ended_by_time:
        expected = "outcome_unknown"
    else:
        expected = "response_too_large" if lie in TOO_LARGE else "upstream_protocol"
    assert code(end) == expected
    assert "lied" not in str(end)


@pytest.mark.parametrize("lie", RAW)
def test_who_lies_at_once_is_told_so_and_left_alone(hub, anna, port, lie):
    timeouts = {"connect_ms": 300}
    with others_are_served(hub, anna), one_more(hub, port, f"first/{lie}", timeouts=timeouts):
        until(lambda: hub.server("more")["health"] == "down", what="the verdict")
        assert "error" in call(anna, "more__well", 500)
        assert seen(port, f"/first/{lie}") <= 8, "it is asked ever more rarely"


@pytest.mark.parametrize("lie", ["over", *RAW])
def test_a_stream_of_news_that_is_none_costs_no_call_and_little_memory(hub, anna, port, lie):
    """One that was JSON without an end took 1.3 GB in 1.5 s."""
    with others_are_served(hub, anna), one_more(hub, port, f"news/{lie}"):
        hub.until_well("more")
        until(lambda: seen(port, f"/news/{lie}") >= 4, what="the stream")
        assert text(call(anna, "more__well")) == "well"
        assert seen(port, f"/news/{lie}") <= 12, "it is opened ever more rarely"


@pytest.mark.parametrize("lie", POSTED)
def test_what_is_said_to_a_post_is_no_answer(hub, anna, port, lie):
    with others_are_served(hub, anna), one_more(hub, port, f"sse/{lie}"):
        hub.until_well("more")
        assert "error" in call(anna, "more__well", 300)


@pytest.mark.parametrize("lie", ENDLESS)
def test_a_stream_of_answers_without_an_end_is_ended(hub, anna, port, lie):
    with others_are_served(hub, anna), one_more(hub, port, "sse"):
        hub.until_well("more")
        assert code(call(anna, f"more__{lie}")) in {"response_too_large", "outcome_unknown"}
        until(lambda: "result" in call(anna, "more__well"), what="its new stream")


def test_nobody_is_led_elsewhere(hub, anna, port):
    for server in ("new", "old"):
        for lie in (name for name in RAW if name.startswith("redirect")):
            assert "not followed" in call(anna, f"{server}__{lie}")["error"]["message"]
    assert seen(port, "/trap") == 0


# ---------------------------------------------------------------- what it says of itself


@pytest.mark.parametrize(
    ("lie", "is_listed"),
    [
        ("endless", True), ("circle", True), ("crowd", True), ("strange", True),
        ("wrong", False), ("values", False), ("objects", False),
    ],
)  # fmt: skip
def test_a_list_that_lies_holds_nobody_up(hub, anna, port, lie, is_listed):
    with others_are_served(hub, anna), one_more(hub, port, f"list/{lie}"):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert text(call(anna, "new__well")) == "well", "within its time"
        assert bool(hub.server("more")["listed_at_s"]) == is_listed
        assert seen(port, f"/list/{lie}") <= 110, "a hundred pages"


def test_who_says_too_much_of_itself_is_not_taken(hub, anna, port):
    with others_are_served(hub, anna), one_more(hub, port, "self/much"):
        until(lambda: hub.server("more")["health"] == "down", what="the verdict")
        assert "capabilities is over" in hub.server("more")["reason"]
