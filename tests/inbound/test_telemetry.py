"""OTLP/HTTP without HTTP: what comes, what is answered, and what is in the ledger then."""

import asyncio
import gzip
import json

import pytest
from msgspec import structs
from support.exchange import post
from support.otlp import CLAUDE, RESPONSES, SPAN, counter, export, log, point, protobuf, span
from support.rest_hub import USER, RestHub
from support.stdio_hub import until

from agenthub.domain.caller import Scope
from agenthub.domain.errors import StorageFailed
from agenthub.inbound import telemetry
from agenthub.inbound.telemetry import AT_ONCE, KINDS, TelemetryHttp
from agenthub.settings import LimitSettings, Settings

REPORTER = structs.replace(USER, scopes=frozenset({Scope.INGEST}))
PATHS = {kind: path for path, kind in KINDS.items()}
JSON, PROTOBUF = b"application/json", b"application/x-protobuf"
TOTALS = export("Metrics", counter("claude_code.token.usage", point(1), temporality=2))


class House:
    def __init__(self, **limits):
        self.hub = RestHub()
        self.hub.settings = Settings(limits=LimitSettings(**limits))
        self.hub.budgets._tell()
        self.door = TelemetryHttp(self.hub)

    def send(self, kind, body, content_type=JSON, *, packed=False, method="POST"):
        headers = [(b"content-type", content_type)]
        headers += [(b"content-encoding", b"gzip")] if packed else []
        exchange = post(body, headers, PATHS[kind], REPORTER, method)
        self.door.hot(PATHS[kind])(exchange)
        return exchange

    async def __call__(self, *args, **more):
        exchange = self.send(*args, **more)
        await until(lambda: exchange.status is not None)
        return exchange

    @property
    def booked(self):
        return [row.hold.facts for row in self.hub.usage.rows.values()]


@pytest.fixture
def house():
    return House()


def encoded(kind, tree, content_type, *, packed=False):
    data = json.dumps(tree).encode() if content_type == JSON else protobuf(kind, tree)
    return gzip.compress(data) if packed else data


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("content_type", [JSON, PROTOBUF])
@pytest.mark.parametrize(
    ("kind", "tree", "source"),
    [
        ("Logs", export("Logs", log(CLAUDE)), "claude-code"),
        ("Spans", export("Spans", span(SPAN)), "otlp"),
        ("Metrics",
         export("Metrics", counter("claude_code.token.usage", point(9, type="output"))),
         "claude-code"),
    ],
)  # fmt: skip
async def test_what_is_exported_is_booked_once_in_each_writing(
    house, kind, tree, source, content_type, packed
):
    body = encoded(kind, tree, content_type, packed=packed)
    for _ in range(2):
        answer = await house(kind, body, content_type, packed=packed)
        assert (answer.status, answer.header(b"content-type")) == (200, content_type)
        assert answer.body == (b"{}" if content_type == JSON else b"")
    (facts,) = house.booked
    assert (facts.source, facts.key, facts.door) == (source, USER.id, "otlp")


async def test_what_is_written_in_both_ways_counts_once(house):
    for kind, tree in (
        ("Logs", export("Logs", log(CLAUDE))),
        ("Spans", export("Spans", span(SPAN))),
    ):
        for content_type in (JSON, PROTOBUF):
            await house(kind, encoded(kind, tree, content_type), content_type)
    assert len(house.booked) == 2


async def test_other_telemetry_is_taken_and_dropped(house):
    record = log({"event.name": "user_prompt", "prompt": "secret"}) | {"body": {"stringValue": "x"}}
    for kind, tree in (
        ("Logs", export("Logs", record)), ("Spans", export("Spans", span({"http.route": "/"}))),
        ("Metrics", export("Metrics", counter("http.requests", point(1)))), ("Logs", {}),
    ):  # fmt: skip
        assert (await house(kind, json.dumps(tree).encode())).status == 200
    assert house.booked == []


async def test_totals_are_rejected_and_the_sender_is_told_what_to_set(house):
    answer = await house("Metrics", json.dumps(TOTALS).encode())
    partial = answer.json["partialSuccess"]
    assert (answer.status, partial["rejectedDataPoints"]) == (200, "1")
    assert "TEMPORALITY_PREFERENCE=delta" in partial["errorMessage"]
    answer = await house("Metrics", protobuf("Metrics", TOTALS), PROTOBUF)
    said = RESPONSES["Metrics"]()
    said.ParseFromString(answer.body)
    assert said.partial_success.rejected_data_points == 1
    assert house.booked == []


# ------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("body", "content_type", "packed"),
    [
        (b"{", JSON, False), (b"\xff", JSON, False), (b'{"a":1,"a":2}', JSON, False),
        (b"\xff\xff\xff", PROTOBUF, False), (b"no gzip", JSON, True),
        (gzip.compress(b"{}", mtime=0)[:-3], JSON, True),
        (gzip.compress(b"{", mtime=0), JSON, True),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_a_status_and_not_to_be_sent_again(
    house, body, content_type, packed
):
    answer = await house("Logs", body, content_type, packed=packed)
    assert (answer.status, answer.header(b"retry-after")) == (400, None)
    if content_type == JSON:
        assert (answer.json["code"], bool(answer.json["message"])) == (3, True)
    else:
        assert answer.body.startswith(b"\x08\x03\x12")


async def test_a19_a_bomb_is_not_unpacked():
    house = House(body_bytes=100_000)
    answer = await house("Logs", gzip.compress(b" " * 50_000_000), packed=True)
    assert (answer.status, "over 100,000 bytes" in answer.json["message"]) == (413, True)


async def test_a_ledger_that_cannot_write_is_to_be_tried_again(house):
    house.hub.usage.broken = StorageFailed("The disk is full.")
    answer = await house("Logs", json.dumps(export("Logs", log(CLAUDE))).encode())
    assert (answer.status, answer.header(b"retry-after")) == (503, b"10")
    assert answer.json == {"code": 14, "message": "The disk is full."}


async def test_only_so_many_are_read_at_a_time(house, monkeypatch):
    go_on = asyncio.Event()

    async def take(*_):
        await go_on.wait()

    monkeypatch.setattr(house.hub.intake, "take", take)
    some = [house.send("Logs", b"{}") for _ in range(AT_ONCE)]
    await asyncio.sleep(0)
    refused = await house("Logs", b"{}")
    assert (refused.status, refused.header(b"retry-after")) == (429, b"1")
    go_on.set()
    await until(lambda: all(one.status for one in some))
    assert (await house("Logs", b"{}")).status == 200


async def test_who_goes_is_not_answered_and_what_it_sent_is_booked(house):
    exchange = house.send("Logs", json.dumps(export("Logs", log(CLAUDE))).encode())
    exchange.gone()
    await until(lambda: house.booked)
    await asyncio.sleep(0.01)
    assert exchange.status is None


async def test_a_bug_is_told_as_one_and_leaves_room_for_others(house, monkeypatch, caplog):
    monkeypatch.setattr(telemetry, "read_logs", lambda _: 1 / 0)
    assert (await house("Logs", b"{}")).status == 500
    assert (await house("Spans", b"{}")).status == 200
    await asyncio.sleep(0.01)
    assert "Background task failed" in caplog.text
    assert house.door._at_once == 0


async def test_other_methods_and_addresses_are_none(house):
    answer = house.send("Logs", b"", method="GET")
    assert (answer.status, answer.header(b"allow")) == (405, b"POST")
    assert house.door.hot("/v1/logs/x") is None
