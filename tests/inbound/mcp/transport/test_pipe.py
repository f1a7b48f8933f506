"""Lines on real file descriptors."""

import asyncio
import contextlib
import os

import pytest
from support.stdio_hub import until

from agenthub.inbound.mcp.transport import pipe as pipe_module
from agenthub.inbound.mcp.transport.pipe import PipeReader, PipeWriter


@pytest.fixture
def ends():
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):
            os.close(fd)


async def all_lines(reader):
    found = []
    async with asyncio.timeout(5):
        while lines := await reader.lines():
            found += lines
    return found


async def test_lines_come_whole_however_they_were_cut(ends):
    read, write = ends
    reader = PipeReader(read, 100)
    os.write(write, b'{"a":1}\n{"b"')
    async with asyncio.timeout(5):
        assert await reader.lines() == [b'{"a":1}']
    os.write(write, b":2}\r\n\n  \n")
    os.write(write, b"the rest")
    os.close(write)
    assert await all_lines(reader) == [b'{"b":2}\r', b"the rest"]
    assert await reader.lines() == []


async def test_a_line_over_the_limit_is_skipped_and_told(ends):
    read, write = ends
    reader = PipeReader(read, 10)
    os.write(write, b"x" * 11 + b"\nok\n" + b"y" * 10 + b"\n" + b"z" * 25)
    os.write(write, b"z" * 25 + b"\nend\n")
    os.close(write)
    assert await all_lines(reader) == [None, b"ok", b"y" * 10, None, b"end"]


async def test_a_file_is_read_like_a_pipe(tmp_path):
    (tmp_path / "in").write_bytes(b"a\nb\n")
    fd = os.open(tmp_path / "in", os.O_RDONLY)
    assert await all_lines(PipeReader(fd, 10)) == [b"a", b"b"]
    os.close(fd)


async def test_what_cannot_be_read_has_ended(ends):
    _, write = ends
    assert await all_lines(PipeReader(write, 10)) == []


async def test_no_more_is_read_than_is_taken(ends, monkeypatch):
    monkeypatch.setattr(pipe_module, "CHUNK", 2)
    read, write = ends
    reader = PipeReader(read, 10)
    os.write(write, b"a\nb\nc\n")
    async with asyncio.timeout(5):
        assert await reader.lines() == [b"a"]
    await until(lambda: not reader._chunks.empty())
    assert reader._chunks.qsize() == 1
    os.close(write)
    assert await all_lines(reader) == [b"b", b"c"]


async def test_lines_are_written_in_order_and_counted_until_they_are_read(ends):
    read, write = ends
    drained = []
    writer = PipeWriter(write, lambda: drained.append(writer.backlog))
    big = b"x" * 300_000 + b"\n"
    writer.write(b"a\n")
    writer.write(big)
    assert writer.backlog == 2 + len(big)
    got = b""
    while len(got) < 2 + len(big):
        got += await asyncio.to_thread(os.read, read, 65_536)
    await writer.close()
    assert got == b"a\n" + big
    assert (writer.backlog, drained[-1]) == (0, 0)


async def test_a_client_that_has_gone_is_written_to_no_more(ends):
    read, write = ends
    writer = PipeWriter(write, lambda: None)
    os.close(read)
    writer.write(b"a\n")
    await writer.close()
    assert writer.broken
    backlog = writer.backlog
    writer.write(b"b\n")
    assert writer.backlog == backlog


async def test_a_client_that_does_not_read_holds_up_no_end(ends, monkeypatch):
    monkeypatch.setattr(pipe_module, "DRAIN_S", 0.05)
    read, write = ends
    writer = PipeWriter(write, lambda: None)
    writer.write(b"x" * 1_000_000)
    async with asyncio.timeout(5):
        await writer.close()
    assert writer.backlog > 0
    os.close(read)
