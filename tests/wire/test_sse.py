"""Server-sent events: what the standard's examples say, and that cuts do not matter."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire.sse import Event, SseParser

CAP = 64


def read(*pieces: bytes, cap: int = CAP) -> list[Event]:
    parser = SseParser(cap)
    return [event for piece in pieces for event in parser.feed(piece)]


def test_an_event_ends_with_a_blank_line():
    assert read(b"data: one\n\ndata: two\n") == [Event(b"one")]


def test_lines_of_data_are_joined():
    assert read(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [Event(b"YHOO\n+2\n10")]


def test_the_event_field_names_the_kind_of_its_own_event_only():
    assert read(b"event: add\ndata: 1\n\ndata: 2\n\n") == [Event(b"1", b"add"), Event(b"2")]


def test_a_kind_without_data_is_no_event():
    assert read(b"event: add\n\ndata: 2\n\n") == [Event(b"2")]


def test_empty_data_is_an_event():
    """A server of 2025 primes a stream with an id and empty data."""
    parser = SseParser(CAP)
    assert parser.feed(b"id: 7\ndata:\n\n") == [Event(b"")]
    assert parser.last_id == b"7"


def test_one_space_after_the_colon_is_not_of_the_value():
    assert read(b"data:a\n\ndata: a\n\ndata:  a\n\n") == [Event(b"a"), Event(b"a"), Event(b" a")]


def test_a_field_without_a_colon_has_an_empty_value():
    assert read(b"data\ndata\n\n") == [Event(b"\n")]


def test_comments_and_unknown_fields_are_nothing():
    assert read(b": keep-alive\n\nfoo: bar\nDATA: x\ndata: y\n\n") == [Event(b"y")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_ascii_line_end_ends_a_line(end: bytes):
    assert read(b"data: a" + end + b"data: b" + end + end) == [Event(b"a\nb")]


def test_line_ends_beyond_ascii_are_text():
    text = "a\u2028b\u2029c\x85d\x0be\x0cf".encode()
    assert read(b"data: " + text + b"\n\n") == [Event(text)]


def test_a_byte_order_mark_is_skipped_at_the_beginning_only():
    assert read(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [Event(b"a")]


def test_a_carriage_return_ends_a_line_before_the_line_feed_comes():
    parser = SseParser(CAP)
    assert parser.feed(b"data: a\r\n\r") == [Event(b"a")]
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: b\n\n") == [Event(b"b")]
    assert parser.feed(b"data: c\r\r") == [Event(b"c")]
    assert parser.feed(b"data: d\n\n") == [Event(b"d")]


def test_ids_last_and_those_with_nul_are_ignored():
    parser = SseParser(CAP)
    parser.feed(b"id: 1\ndata: a\n\nid: \0\ndata: b\n\n")
    assert parser.last_id == b"1"
    parser.feed(b"id\n")
    assert parser.last_id == b""


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"1500", 1500), (b"0", 0), (b"-1", None), (b"1.5", None), (b"1" * 10, None), (b"", None)],
)
def test_retry_is_a_number_of_milliseconds(value: bytes, expected: int | None):
    parser = SseParser(CAP)
    parser.feed(b"retry: " + value + b"\n")
    assert parser.retry_ms == expected


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * CAP + b"\n\ndata: late\n\n",
        b"data: " + b"x" * CAP * 2,
        b"data: 1234\n" * 20 + b"\ndata: late\n\n",
        b": " + b"x" * CAP * 2 + b"\n\ndata: late\n\n",
    ],
    ids=["a line", "a line without end", "many lines", "a comment"],
)
def test_an_event_over_the_cap_is_the_end_of_reading(stream: bytes):
    parser = SseParser(CAP)
    assert parser.feed(b"data: first\n\n" + stream) == [Event(b"first")]
    assert parser.overflowed
    assert parser.feed(b"\n\ndata: more\n\n") == []


def test_endless_comments_are_not_kept():
    parser = SseParser(CAP)
    for _ in range(1000):
        assert parser.feed(b": keep-alive\n\n") == []
    assert not parser.overflowed


def test_an_event_as_large_as_the_cap_passes():
    line = b"data: " + b"x" * (CAP - 6)
    assert read(line, b"\n\n") == [Event(b"x" * (CAP - 6))]


fragments = st.sampled_from(
    [
        b"data", b"event", b"id", b"retry", b":", b" ", b"\r", b"\n", b"\r\n", b"\n\n", b"x", b"1",
        b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\0", b"data: y\n\n", b"x" * 30,
    ]
)  # fmt: skip


@given(st.lists(fragments, max_size=40), st.lists(st.integers(0, 200), max_size=12))
def test_where_the_bytes_are_cut_does_not_matter(parts: list[bytes], cuts: list[int]):
    stream = b"".join(parts)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    whole, cut, single = SseParser(CAP), SseParser(CAP), SseParser(CAP)
    expected = whole.feed(stream)
    assert [event for piece in pieces for event in cut.feed(piece)] == expected
    assert [e for n in range(len(stream)) for e in single.feed(stream[n : n + 1])] == expected
    for other in (cut, single):
        assert other.overflowed == whole.overflowed
        if not whole.overflowed:
            assert (other.last_id, other.retry_ms) == (whole.last_id, whole.retry_ms)
