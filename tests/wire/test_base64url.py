"""One spelling of bytes as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.wire import base64url


@given(st.binary(max_size=64))
def test_what_is_written_is_read(data):
    assert base64url.decode(base64url.encode(data)) == data


@pytest.mark.parametrize("text", ["QQ==", "QR", "+w", "Q", "Q Q", "\u00e9", "Q\n"])
def test_another_spelling_is_none(text):
    assert base64url.encode(b"A") == "QQ"
    with pytest.raises(ValueError):  # noqa: PT011 - as binascii says it
        base64url.decode(text)
