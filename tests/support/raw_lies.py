"""Answers that are no good HTTP, no good JSON or no end, for `network_liar`. Not a test."""

import asyncio
import gzip
from contextlib import suppress

from msgspec import json

METADATA = "http://169.254.169.254/latest/meta-data/"
STREAM = b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\n"
PIECE = 65_536


def ok(*lines):
    return b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n"


def body_of(number, words="lied"):
    content = {"content": [{"type": "text", "text": words}]}
    return json.encode({"jsonrpc": "2.0", "id": number, "result": content})


def sized(body, *lines):
    return ok(b"Content-Length: %d\r\n" % len(body), *lines) + body


def endless(head, piece, gap_s=0.0):
    """The head, and then the piece until the other side has enough."""

    async def lie(peer, number):
        with suppress(ConnectionError):
            await peer.raw(head)
            while True:
                await peer.raw(piece)
                await asyncio.sleep(gap_s)

    return lie


def once(make):
    """What `make` makes of the request's id, and no more."""

    async def lie(peer, number):
        await peer.raw(make(number))

    return lie


def redirect(status, to):
    async def lie(peer, number):
        await peer.answer(status, headers={"Location": to(peer)})

    return lie


def own(peer):
    """Another address of the same machine."""
    port = peer.writer.get_extra_info("sockname")[1]
    return f"http://127.0.0.1:{port}/trap"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


BOMB = gzip.compress(b" " * (256 << 20), 9)
RAW = {
    # Without an end.
    "endless_comments": endless(ok(STREAM, CHUNKED), chunk(b": x\n" * 2_000)),
    "endless_pings": endless(ok(STREAM, CHUNKED), chunk(b": ping\n\n"), 0.01),
    "endless_line": endless(ok(STREAM, CHUNKED), chunk(b"x" * PIECE)),
    "endless_event": endless(ok(STREAM, CHUNKED), chunk(b"data: " + b"x" * PIECE + b"\n")),
    "endless_json": endless(ok(JSON, CHUNKED), chunk(b" " * PIECE)),
    "endless_head": endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"x" * 1_000 + b"\r\n"),
    "endless_name": endless(b"HTTP/1.1 200 OK\r\n", b"x" * 1_000),
    "endless_chunk_size": endless(ok(JSON, CHUNKED), b"0" * 1_000),
    "endless_extension": endless(ok(JSON, CHUNKED) + b"5;", b"x" * 1_000),
    "endless_trailers": endless(ok(JSON, CHUNKED) + b"0\r\n", b"X-T: x\r\n" * 100),
    "endless_interims": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "drip": endless(ok(JSON, b"Content-Length: 1000000\r\n"), b" ", 0.05),
    "drip_head": endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"x", 0.05),
    "silent": once(lambda number: b""),
    # More than was asked for.
    "giant_event": once(
        lambda number: ok(STREAM, CHUNKED)
        + chunk(b"data: " + body_of(number, "x" * 12_000_000) + b"\n\n")
    ),
    "giant_length": once(lambda number: ok(JSON, b"Content-Length: 99999999999\r\n")),
    "ten_thousand_headers": once(
        lambda number: sized(body_of(number), JSON, *(b"X-%d: x\r\n" % n for n in range(10_000)))
    ),
    "gzip_bomb": once(lambda number: sized(BOMB, JSON, b"Content-Encoding: gzip\r\n")),
    "packed": once(
        lambda number: sized(gzip.compress(body_of(number)), JSON, b"Content-Encoding: gzip\r\n")
    ),
    "packed_chunks": once(
        lambda number: ok(STREAM, CHUNKED, b"Content-Encoding: gzip\r\n") + chunk(BOMB[:PIECE])
    ),
    "transfer_gzip": once(
        lambda number: ok(JSON, b"Transfer-Encoding: gzip, chunked\r\n") + chunk(BOMB[:PIECE])
    ),
    # Not what it says it is.
    "html": once(lambda number: sized(body_of(number), b"Content-Type: text/html\r\n")),
    "no_type": once(lambda number: sized(body_of(number))),
    "json_as_stream": once(lambda number: sized(body_of(number), STREAM)),
    "stream_as_json": once(
        lambda number: sized(b"data: " + body_of(number) + b"\n\n", JSON)
    ),
    "utf16": once(lambda number: sized(body_of(number).decode().encode("utf-16"), JSON)),
    "batch": once(lambda number: sized(b"[" + body_of(number) + b"]", JSON)),
    "twofold": once(lambda number: sized(body_of(number) + body_of(number), JSON)),
    "deep": once(
        lambda number: sized(b'{"jsonrpc":"2.0","id":%d,"result":' % number
                             + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON)
    ),
    "surrogate": once(
        lambda number: sized(body_of(number).replace(b"lied", b"\xed\xa0\x80"), JSON)
    ),
    # No HTTP.
    "chunk_words": once(lambda number: ok(JSON, CHUNKED) + b"zz\r\nxx\r\n"),
    "chunk_below_zero": once(lambda number: ok(JSON, CHUNKED) + b"-5\r\nxxxxx\r\n"),
    "chunk_too_big": once(lambda number: ok(JSON, CHUNKED) + b"fffffffffffffffff\r\nx\r\n"),
    "two_lengths": once(lambda number: sized(body_of(number), JSON, b"Content-Length: 3\r\n")),
    "length_and_chunks": once(lambda number: sized(body_of(number), JSON, CHUNKED)),
    "another_protocol": once(
        lambda number: b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    ),
    "smtp": once(lambda number: b"220 mail.example.com ESMTP\r\n"),
    "split_header": once(lambda number: b"HTTP/1.1 200 OK\r\nX: a\rY: b\x00\r\n\r\n"),
    # Elsewhere.
    **{f"redirect_{status}": redirect(status, own) for status in (301, 302, 303, 307, 308)},
    "redirect_metadata": redirect(307, lambda peer: METADATA),
    "authenticate": once(
        lambda number: b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: Bearer "
        b'resource_metadata="%b"\r\n\r\n' % METADATA.encode()
    ),
}  # fmt: skip
