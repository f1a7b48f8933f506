import json
import threading
import time

import pytest
from support.cli_hub import listening

from agenthub.cli.access import HubAccess, HubRefused, hub_at
from agenthub.cli.ending import Failed
from agenthub.cli.requests import Answer, Request, at_once
from agenthub.domain.errors import StorageFailed


class Requests:
    """Answers in turn; remembers what was asked."""

    url = None

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def send(self, request):
        self.asked.append(request)
        return self.answers.pop(0)

    def send_all(self, requests):
        return [self.send(request) for request in requests]


def problem(status, **facts):
    return Answer(status, json.dumps(facts).encode())


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"code": "bad_setting", "detail": "url: expected an address."},
         "url: expected an address (bad_setting)."),
        ({"code": "circuit_open", "detail": "It is open", "server": "git", "retry_after_ms": 1500},
         "It is open (circuit_open, again in 1.5 s)."),
        ({"code": "rate_limited", "detail": "Too many", "retry_after_ms": 60_000},
         "Too many (rate_limited, again in 60 s)."),
        ({"title": "No"}, "No (http_418)."),
        ({}, "It gave no reason (http_418)."),
    ],
)  # fmt: skip
def test_a_refusal_says_why(facts, line):
    with pytest.raises(HubRefused) as refused:
        HubAccess(Requests(problem(418, **facts))).endpoints()
    assert str(refused.value) == line


def test_a_command_that_is_refused_says_what_to_do(cli):
    refused = cli("remove", "calculater")
    assert refused.err == (
        "error: There is no server named 'calculater' (unknown_target)."
        " Did you mean 'calculator'?\n"
    )  # fmt: skip


def test_a_hint_that_cannot_be_found_is_left_out(cli, monkeypatch):
    def gone(self):
        raise Failed("The hub broke off.")

    monkeypatch.setattr(HubAccess, "endpoints", gone)
    refused = cli("remove", "calculater")
    assert refused.err == "error: There is no server named 'calculater' (unknown_target).\n"


def test_a_failure_of_the_storage_names_the_home(cli, hub, home):
    async def full(*_):
        raise StorageFailed("The disk is full (4 KiB free).")

    hub.keys.create = full
    refused = cli("key", "create", "one")
    assert refused.err == (
        "error: The disk is full (4 KiB free) (storage_failed)."
        f" The hub's files are in {home}.\n"
    )  # fmt: skip


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
def test_an_answer_of_something_else_is_told(body):
    with pytest.raises(HubRefused, match="http_502"):
        HubAccess(Requests(Answer(502, body))).check()


@pytest.mark.parametrize("body", [b"<html>", b""])
def test_a_good_answer_that_is_no_json_is_told(body):
    with pytest.raises(Failed, match="not JSON"):
        HubAccess(Requests(Answer(200, body))).check()


def test_names_are_quoted_in_paths():
    requests = Requests(Answer(204, b""), Answer(200, b"{}"))
    access = HubAccess(requests)
    access.delete_endpoint("a/../b?c")
    access.set_breaker("a b", "open", {})
    assert [request.path for request in requests.asked] == [
        "/api/endpoints/a%2F..%2Fb%3Fc",
        "/api/gateway/circuit-breaker/a%20b/open",
    ]


def test_replacing_what_is_not_there_adds_it():
    requests = Requests(problem(404, code="unknown_target"), Answer(201, b'{"name": "a"}'))
    assert HubAccess(requests).replace_endpoint({"name": "a"}) == {"name": "a"}
    assert [request.method for request in requests.asked] == ["PUT", "POST"]
    with pytest.raises(HubRefused):
        HubAccess(Requests(problem(400, code="bad_setting"))).replace_endpoint({"name": "a"})


def test_a_look_that_is_refused_is_a_finding_too():
    answers = Answer(200, b'{"ok": true}'), problem(404, code="unknown_target", detail="gone")
    found = HubAccess(Requests(*answers)).test(["a", "b"], 2)
    assert found["a"] == {"ok": True}
    assert found["b"]["ok"] is False
    assert "gone" in found["b"]["problem"]


def test_all_at_once_keeps_the_order_and_is_as_slow_as_the_slowest():
    together = threading.Barrier(8, timeout=5)

    def send(request):
        together.wait()
        return Answer(200, request.path.encode())

    answers = at_once(send, [Request("GET", str(number)) for number in range(8)])
    assert [answer.body for answer in answers] == [b"%d" % number for number in range(8)]
    assert at_once(send, []) == []


def test_more_than_the_threads_take_their_turns():
    answers = at_once(lambda r: Answer(200, b""), [Request("GET", "")] * 40, most=3)
    assert len(answers) == 40


def test_the_first_failure_is_raised_when_all_are_done():
    done = []

    def send(request):
        if request.path in {"1", "2"}:
            raise Failed(request.path)
        time.sleep(0)
        done.append(request.path)
        return Answer(200, b"")

    with pytest.raises(Failed, match="1"):
        at_once(send, [Request("GET", str(number)) for number in range(4)])
    assert sorted(done) == ["0", "3"]


def test_the_running_hub_is_asked_else_one_is_opened_here(home, module):
    with hub_at(home, connect=["calculator"]) as hub:
        assert hub.url is None
        assert [view["name"] for view in hub.endpoints()] == ["calculator", "other"]
    assert module.opened == [(home, ["calculator"])]
    with listening(module.gate, home) as url, hub_at(home) as hub:
        assert hub.url == url
        assert len(hub.endpoints()) == 2
    assert len(module.opened) == 1
