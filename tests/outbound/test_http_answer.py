"""What an HTTP answer says beside its message."""

import pytest

from agenthub.domain.span import SECOND
from agenthub.outbound.http_answer import explain, media_type, retry_after_ms, says_nothing_of_era

WALL = 1_445_412_480 * SECOND
"""Wed, 21 Oct 2015 07:28:00 GMT."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"2", 2_000),
        (b" 2 ", 2_000),
        (b"0", 0),
        (b"1000000000", 1_000_000_000_000),
        (b"-1", None),
        (b"+1", None),
        (b"1e9", None),
        (b"99999999999", None),
        (b"abc", None),
        (b"", None),
        (b"\xff", None),
        (b"Wed, 21 Oct 2015 07:28:30 GMT", 30_000),
        (b"Wed, 21 Oct 2015 07:28:30 -0000", 30_000),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0),
        (b"Wed, 21 Oct 2015 07:27:59 GMT", None),
        (b"Wed, 99 Oct 2015 07:28:00 GMT", None),
        (b"Wed, 21 Oct 99999 07:28:00 GMT", None),
        (b"9" * 400, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_counts_for_nothing(
    value: bytes, expected: int | None
):
    assert retry_after_ms({b"retry-after": value}, WALL) == expected


def test_milliseconds_are_the_finer_word():
    assert retry_after_ms({b"retry-after-ms": b"1500.25", b"retry-after": b"9"}, WALL) == 1_500
    assert retry_after_ms({b"retry-after-ms": b"soon", b"retry-after": b"9"}, WALL) == 9_000
    assert retry_after_ms({}, WALL) is None


def test_a_media_type_has_no_parameters_and_no_case():
    assert media_type({b"content-type": b"Application/JSON ; charset=utf-8"}) == b"application/json"
    assert media_type({}) == b""


@pytest.mark.parametrize("status", [401, 403, 407, 408, 425, 429, 500, 502, 503, 504, 529])
def test_trouble_says_nothing_of_the_era(status: int):
    assert says_nothing_of_era(status)


@pytest.mark.parametrize("status", [200, 400, 404, 405, 406, 415])
def test_other_statuses_say_something_of_the_era(status: int):
    assert not says_nothing_of_era(status)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (302, "redirect"),
        (401, "authentication"),
        (403, "forbids"),
        (404, "no MCP endpoint"),
        (429, "pause"),
        (503, "trouble"),
        (418, "418"),
    ],
)
def test_each_status_is_explained(status: int, word: str):
    assert word in explain(status, {}).problem


@pytest.mark.parametrize(
    ("challenge", "hint"),
    [(b'Bearer resource_metadata="https://x/"', "agenthub login"), (b"Bearer", "Give a header")],
)
def test_what_would_let_the_hub_in_is_told(challenge: bytes, hint: str):
    assert hint in explain(401, {b"www-authenticate": challenge}).hint


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        (b'Bearer error="insufficient_scope", scope="a b:c"', "lacks scopes: a b:c (see"),
        (b'Bearer error="insufficient_scope"', "lacks scopes (see `agenthub login`)"),
        (b'Bearer error="insufficient_scope", scope="\xe9"', "lacks scopes (see"),
        (b'Bearer scope="a"', "it forbids this"),
    ],
)
def test_scopes_that_lack_are_told(challenge: bytes, problem: str):
    assert problem in explain(403, {b"www-authenticate": challenge}).problem


def test_the_scheme_of_a_challenge_is_named_and_nothing_else_of_it():
    challenge = {b"www-authenticate": b'Bearer resource_metadata="http://evil/"'}
    diagnosis = explain(401, challenge)
    assert diagnosis.problem.endswith("authentication (Bearer)")
    assert "evil" not in diagnosis.problem + diagnosis.hint
    assert explain(401, {b"www-authenticate": b"<script>"}).problem.endswith("authentication")
