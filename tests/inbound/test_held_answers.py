"""Answers that wait for the end of the loop's turn: none is lost, and none is overtaken."""

import asyncio

import pytest
from support.edge_hub import open_house
from support.stdio_hub import until

from agenthub.inbound.protocol import HELD_MAX

GET = "GET /healthz HTTP/1.1"
ANSWER = b'"the answer"'


class Two:
    """Two clients whose requests are on, so that an answer to one of them is held."""

    def __init__(self, house):
        self.house = house
        self.clients = []

    async def __aenter__(self):
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.house.port)
            self.clients.append((reader, writer))
            writer.write(self.house.head("POST /mcp/hold HTTP/1.1", body=b"{}"))
            await until(lambda: len(self.house.doors.held) == len(self.clients))
        self.turn, self.other = self.house.doors.held
        self.line, self.edge = self.turn.line, self.turn.line._edge
        (self.reader, self.writer), _ = self.clients
        return self

    async def __aexit__(self, *_):
        for _, writer in self.clients:
            writer.transport.abort()

    async def read(self, what=ANSWER):
        seen = b""
        async with asyncio.timeout(5):
            while what not in seen:
                piece = await self.reader.read(65536)
                assert piece, seen
                seen += piece
        return seen


async def test_an_answer_is_held_until_the_end_of_the_turn_while_others_wait():
    async with open_house() as house, Two(house) as two:
        two.turn.answer(200, ANSWER)
        assert two.line._held
        assert not two.line.backlog, "it does not wait for the client"
        await two.read()
        assert not two.line._held


async def test_a_stream_goes_out_once_a_turn_while_others_wait():
    async with open_house() as house, Two(house) as two:
        two.turn.begin(200, ())
        for piece in (b"one", b"two", b"three"):
            two.turn.write(piece)
        two.turn.end()
        assert len(two.line._held) == 5
        seen = await two.read(b"0\r\n\r\n")
        assert seen.endswith(b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")


async def test_no_more_of_a_stream_is_held_than_a_bound():
    async with open_house() as house, Two(house) as two:
        two.turn.begin(200, ())
        two.turn.write(b"x" * (HELD_MAX - 1_000))
        assert two.line._held
        two.turn.write(b"y" * 1_000)
        assert not two.line._held
        await asyncio.sleep(0)
        two.turn.write(b"z" * 2_000)
        assert two.line._held, "what went out does not count"
        two.turn.end()
        seen = await two.read(b"0\r\n\r\n")
        assert seen.index(b"x") < seen.index(b"yyy") < seen.index(b"zzz") < seen.index(b"\r\n0\r\n")


async def test_who_is_alone_is_answered_at_once():
    async with open_house() as house, Two(house) as two:
        two.other.answer(200, b"{}")
        two.turn.answer(200, ANSWER)
        assert not two.line._held
        await two.read()


@pytest.mark.parametrize(
    "then",
    [
        lambda two: two.line.shutdown(),
        lambda two: two.line.eof_received(),
        lambda two: two.line.hold(b"more"),
        lambda two: two.line.send(b"more"),
        lambda two: two.edge.sweep(),
    ],
)
async def test_whatever_follows_in_the_same_turn_comes_after_it(then):
    async with open_house(keep_alive_ms=0) as house, Two(house) as two:
        two.turn.answer(200, ANSWER)
        then(two)
        await two.read()


@pytest.mark.parametrize("end", [" HTTP/1.1", " HTTP/9.9"])
async def test_what_is_read_in_the_same_turn_is_answered_after_it(end):
    """A request for the ASGI application, and one that is refused."""
    async with open_house() as house, Two(house) as two:
        two.turn.answer(200, ANSWER)
        two.line.data_received(house.head(GET.removesuffix(" HTTP/1.1") + end))
        seen = await two.read(b'"ok"' if end == " HTTP/1.1" else b"HTTP/1.1 400")
        assert ANSWER in seen


async def test_a_client_that_went_meanwhile_is_no_failure(caplog):
    async with open_house() as house, Two(house) as two:
        two.turn.answer(200, ANSWER)
        two.line.transport.abort()
        await until(lambda: two.line not in two.edge.connections)
        assert not caplog.records


async def test_requests_that_are_on_are_counted():
    async with open_house() as house:
        async with Two(house) as two:
            edge = two.edge
            assert edge.turns == 2
            two.turn.answer(200, b"{}")
            assert edge.turns == 1
            two.line.data_received(house.head(GET))
            await until(lambda: edge.turns == 1)
        await until(lambda: edge.turns == 0)
