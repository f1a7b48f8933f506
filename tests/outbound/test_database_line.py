"""The line to the database: in order, in pieces, and nothing is left behind."""

import asyncio

from agenthub.outbound.database_line import PIECE, Line


class Peer:
    """A transport that keeps what is written."""

    def __init__(self):
        self.pieces = []
        self.ended = False

    def write(self, data):
        assert not self.ended
        self.pieces.append(data)

    def write_eof(self):
        self.ended = True

    def is_closing(self):
        return False


def line_to(peer):
    line = Line(lambda message: None)
    line.connection_made(peer)
    return line


def frames(count):
    return [b"%05d" % number for number in range(count)]


async def test_few_frames_go_out_together_when_the_turn_ends():
    line = line_to(peer := Peer())
    for frame in frames(PIECE - 1):
        line.write(frame)
    assert not peer.pieces
    await asyncio.sleep(0)
    assert peer.pieces == [b"".join(frames(PIECE - 1))]


async def test_many_go_out_in_pieces_and_the_rest_when_the_turn_ends():
    """The database works on the first of them while the others are made."""
    line = line_to(peer := Peer())
    for frame in frames(2 * PIECE + 3):
        line.write(frame)
    assert [len(piece) // 5 for piece in peer.pieces] == [PIECE, PIECE]
    await asyncio.sleep(0)
    assert b"".join(peer.pieces) == b"".join(frames(2 * PIECE + 3))


async def test_what_waits_goes_out_before_the_end():
    line = line_to(peer := Peer())
    line.write(b"last")
    line.end()
    assert (peer.pieces, peer.ended) == ([b"last"], True)
    await asyncio.sleep(0)
    assert peer.pieces == [b"last"]
