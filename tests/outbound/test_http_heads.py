"""Answers whose heads are known take the short way, and mean what they meant to the parser."""

import asyncio

import pytest
from support.http_servers import FaultServer, HttpHouse, Peer, Request, modern
from support.stdio_hub import text_of

from agenthub.domain.outcome import Ending
from agenthub.outbound.http_heads import HEAD_BYTES_MAX, HEADS_MAX, Heads

JSON = {b"content-type": b"application/json", b"content-length": b"2"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def known(data: bytes, headers: dict[bytes, bytes], status: int = 200) -> bool:
    heads = Heads()
    heads.learn(data, status, headers)
    return heads.find(data) is not None


def test_a_head_that_was_read_once_is_known():
    heads = Heads()
    assert heads.find(ANSWER) is None
    heads.learn(ANSWER, 200, JSON)
    plain = heads.find(ANSWER[:-2] + b"[]")
    assert plain is not None
    assert (ANSWER[len(plain.head) :], plain.headers) == (b"{}", JSON)


@pytest.mark.parametrize(
    "data",
    [ANSWER[:-1], ANSWER + b" ", ANSWER[:-4], ANSWER[:9], b"", ANSWER.replace(b"200", b"201")],
)
def test_only_the_same_head_with_all_of_its_body_is_found(data: bytes):
    heads = Heads()
    heads.learn(ANSWER, 200, JSON)
    assert heads.find(data) is None


def test_the_head_that_was_found_last_stands_for_no_other():
    heads = Heads()
    other = ANSWER.replace(b"OK", b"Fine")
    heads.learn(ANSWER, 200, JSON)
    heads.learn(other, 200, JSON)
    for data in (ANSWER, ANSWER, other, ANSWER):
        found = heads.find(data)
        assert found is not None
        assert data.startswith(found.head)
        assert heads.find(data + b" ") is None
    assert heads.find(ANSWER.replace(b"OK", b"No")) is None
    assert heads.find(ANSWER) is not None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (JSON, 201),
        (JSON, 400),
        (JSON | {b"content-type": b"text/event-stream"}, 200),
        (JSON | {b"content-length": b"3"}, 200),
        (JSON | {b"content-length": b"+2"}, 200),
        ({b"content-type": b"application/json"}, 200),
        (JSON | {b"content-encoding": b"gzip"}, 200),
        (JSON | {b"transfer-encoding": b"chunked"}, 200),
    ],
)
def test_any_other_answer_is_left_to_the_parser(headers: dict[bytes, bytes], status: int):
    assert known(ANSWER, JSON)
    assert not known(ANSWER, headers, status)


def test_an_answer_without_a_body_or_a_head_is_not_learned():
    bare = ANSWER[:-2]
    assert not known(bare, JSON | {b"content-length": b"0"})
    assert not known(b"{}", JSON)


def test_a_very_long_head_is_not_learned():
    assert known(ANSWER.replace(b"\r\n", b"\r\nX: " + b"x" * 1_000 + b"\r\n", 1), JSON)
    long = ANSWER.replace(b"\r\n", b"\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n", 1)
    assert not known(long, JSON)


def test_no_more_than_so_many_heads_are_kept():
    heads = Heads()
    answers = [ANSWER.replace(b"OK", b"OK %d" % n) for n in range(HEADS_MAX + 1)]
    for answer in answers:
        heads.learn(answer, 200, JSON)
    assert sum(heads.find(answer) is not None for answer in answers) == 1
    assert heads.find(answers[-1]) is not None


# ---------------------------------------------------------------- through a server


def whole(request: Request, *, extra: bytes = b"", answer_id: int | None = None) -> bytes:
    data = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"ok"}]}}' % (
        request.id if answer_id is None else answer_id
    )
    # The same length whatever the id, so that the heads are the same.
    data = data.ljust(120)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b%b"
        % (len(data), data, extra)
    )


async def test_known_answers_in_one_piece_or_two_are_the_same():
    async def call(request: Request, peer: Peer):
        data = whole(request)
        cut = 150 if request.id % 2 else 0
        await peer.raw(data[: len(data) - cut])
        if cut:
            await asyncio.sleep(0.01)
            await peer.raw(data[-cut:])

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(6):
            assert text_of(await house.call("tool")) == "ok"
        assert server.connections == 1


async def test_a_known_head_does_not_make_another_calls_answer_mine():
    """F15."""
    answers = 0

    async def call(request: Request, peer: Peer):
        nonlocal answers
        answers += 1
        await peer.raw(whole(request, answer_id=request.id - 1 if answers == 3 else None))

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        endings = [(await house.call("tool")).ending for _ in range(4)]
        assert endings == [Ending.RESULT, Ending.RESULT, Ending.PROTOCOL, Ending.RESULT]


async def test_what_follows_a_known_answer_closes_the_connection():
    """F17: nothing of it may be read as the next answer."""
    answers = 0

    async def call(request: Request, peer: Peer):
        nonlocal answers
        answers += 1
        extra = whole(request, answer_id=request.id + 1) if answers == 3 else b""
        await peer.raw(whole(request, extra=extra))

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        for _ in range(4):
            assert text_of(await house.call("tool")) == "ok"
        assert server.connections == 2


async def test_a_known_head_with_a_body_that_is_no_answer_is_a_fault():
    bodies = [b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}', b"{ no JSON"]
    answers = 0

    async def call(request: Request, peer: Peer):
        nonlocal answers
        answers += 1
        data = whole(request)
        if answers >= 3:
            data = data[:-120] + bodies[answers - 3].ljust(120)
        await peer.raw(data)

    async with FaultServer(modern(call)) as server, HttpHouse(server.url) as house:
        await house.up()
        replies = [await house.call("tool") for _ in range(4)]
        assert [reply.ending for reply in replies[2:]] == [Ending.PROTOCOL] * 2
        assert "without an answer" in replies[2].detail
