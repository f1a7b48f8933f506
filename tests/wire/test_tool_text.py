"""A tool's result as a model reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire.tool_text import cut, text_of


def said(**result):
    return text_of(json.dumps(result).encode())


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": [{"type": "text", "text": "5"}, {"type": "text", "text": "6"}]}, "5\n6"),
        ({"content": [], "structuredContent": {"a": 1}}, '{"a":1}'),
        ({"content": [{"type": "text", "text": "5"}], "structuredContent": {"a": 1}}, "5"),
        ({"content": []}, "(no content)"),
        ({}, "(no content)"),
        ({"content": "x"}, "(no content)"),
        ({"content": [7, {"type": "text", "text": ""}]}, "(no content)"),
        ({"content": [{"type": "image", "mimeType": "image/png", "data": "AAAA"}]},
         "(image: image/png)"),
        ({"content": [{"type": "text"}]}, "(text: no text)"),
        ({"content": [{"type": "resource", "resource": {"uri": "a:b", "text": "inside"}}]},
         "inside"),
        ({"content": [{"type": "resource", "resource": {"uri": "a:b"}}]}, "(a resource: a:b)"),
        ({"content": [{"type": "resource_link", "uri": "a:b"}]}, "(a link: a:b)"),
        ({"content": [{"type": "resource"}]}, "(resource: no text)"),
    ],
)  # fmt: skip
def test_content_is_told_in_its_order_and_what_is_no_text_by_its_kind(result, text):
    assert said(**result) == text


@pytest.mark.parametrize("odd", [b"", b"[1]", b"{", b"\xff", b'{"content":"\xff"}', b"[" * 5_000])
def test_what_is_no_result_is_told_so(odd):
    assert text_of(odd) == "(the tool's answer could not be read)"


def test_a_long_one_is_cut_and_says_how_much_there_was():
    long = said(content=[{"type": "text", "text": "ab\u00e9" * 100_000}])
    assert len(long.encode()) < 66_000
    assert long.endswith("(cut here: 400,000 bytes in all, of which 65,536 are shown)")


@given(st.text(), st.integers(0, 50))
def test_a_cut_is_never_longer_than_allowed_but_for_its_word(text, most):
    kept = cut(text, most)
    if len(text.encode(errors="replace")) <= most:
        assert kept == text.encode(errors="replace").decode()
    else:
        assert len(kept.split("\n(cut here")[0].encode()) <= most
