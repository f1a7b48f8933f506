"""Cutting a child's output into lines, and keeping the last words of stderr."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agenthub.outbound.child_output import HEAD_BYTES, LineSplitter, Overlong, StderrRing


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"."))),
    st.lists(st.integers(1, 20)),
)
def test_however_it_comes_the_lines_are_the_same(lines: list[bytes], sizes: list[int]):
    splitter, cap = LineSplitter(20), 20
    got: list[bytes | Overlong] = []
    for piece in cut(b"".join(line + b"\n" for line in lines), sizes):
        got += splitter.feed(piece)
    whole = [line for line in lines if line]
    assert len(got) == len(whole)
    for is_there, line in zip(got, whole, strict=True):
        if len(line) <= cap:
            assert is_there == line
        else:
            assert isinstance(is_there, Overlong)
            assert line.startswith(is_there.head)
    assert splitter.rest() == b""


def test_a_line_of_exactly_the_cap_is_whole():
    assert LineSplitter(4).feed(b"1234\n12345\n") == [b"1234", Overlong(b"12345")]


def test_what_follows_an_overlong_line_is_read_again():
    splitter = LineSplitter(4)
    assert splitter.feed(b"123456") == [Overlong(b"123456")]
    assert splitter.feed(b"789") == []
    assert splitter.skipped == 9
    assert splitter.feed(b"0\nab\nc") == [b"ab"]
    assert splitter.skipped == 0
    assert splitter.rest() == b"c"


def test_a_line_that_gets_too_long_with_its_end_is_overlong():
    splitter = LineSplitter(4)
    assert splitter.feed(b"123") == []
    assert splitter.feed(b"45\nab\n") == [Overlong(b"12345"), b"ab"]


def test_the_head_of_an_overlong_line_is_short():
    (line,) = LineSplitter(10_000).feed(b"x" * 20_000)
    assert line == Overlong(b"x" * HEAD_BYTES)


def test_the_ring_keeps_the_last_fifty_lines_in_64_kib():
    ring = StderrRing()
    for number in range(200):
        ring.feed(f"{number} {'x' * 5_000}\n".encode())
    lines = ring.lines()
    assert len(lines) == 50
    assert sum(map(len, lines)) <= 64 * 1024


def test_a_line_in_pieces_is_one_line_and_one_without_an_end_shows():
    ring = StderrRing()
    ring.feed(b"one ")
    ring.feed(b"line\n\nand")
    ring.feed(b" another")
    assert ring.lines() == ("one line", "and another")


def test_endless_text_without_a_newline_stays_small():
    ring = StderrRing()
    for _ in range(100):
        ring.feed(b"x" * 65_536)
    assert len(ring.lines()[0]) <= 1_300


def test_controls_colours_and_what_reorders_text_are_stripped():
    ring = StderrRing()
    ring.feed(b"\x1b[1;31mred\x1b[0m\ttab\r\x07\x00 \x1b]8;;http://x\x1b\\link\n")
    ring.feed("\u202eevil\u200b\u2066\x9b2J\n".encode())
    ring.feed(b"not utf-8: \xff\n")
    assert ring.lines() == ("red tab link", "evil2J", "not utf-8: \ufffd")


def test_values_of_the_servers_environment_are_blotted_out():
    ring = StderrRing(("s3cr3t-value", "on", "s3cr3t-value-long"))
    ring.feed(b"using s3cr3t-value-long and s3cr3t-value, on\n")
    assert ring.lines() == ("using *** and ***, on",)
