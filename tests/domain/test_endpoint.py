"""An endpoint's record."""

import msgspec
import pytest

from agenthub.domain.endpoint import Endpoint, RateLimit


def test_how_it_is_reached_follows_from_what_is_given():
    assert Endpoint("a", url="http://localhost").reached_by == "http"
    assert Endpoint("a", command=("x",)).reached_by == "stdio"


def test_what_is_as_usual_is_not_written():
    written = msgspec.json.decode(msgspec.json.encode(Endpoint("a", url="http://x", attempts=3)))
    assert written["url"] == "http://x"
    assert {"attempts", "trust", "concurrency", "fallbacks"}.isdisjoint(written)


def test_what_is_not_known_is_refused():
    with pytest.raises(msgspec.ValidationError, match="unknown field `is_admin`"):
        msgspec.json.decode(b'{"name":"a","is_admin":true}', type=Endpoint)


def test_no_limit_and_the_usual_limit_are_told_apart():
    usual = msgspec.json.decode(b'{"name":"a"}', type=Endpoint)
    none = msgspec.json.decode(b'{"name":"a","rate_limit":null}', type=Endpoint)
    assert usual.rate_limit == RateLimit(5.0, 10)
    assert none.rate_limit is None
    assert msgspec.json.decode(msgspec.json.encode(none), type=Endpoint).rate_limit is None


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"url": "http://x"}, 64), ({"command": ("x",)}, 8),
        ({"command": ("x",), "private_sessions": 0}, 0),
        ({"url": "http://x", "private_sessions": 3}, 3),
    ],
)  # fmt: skip
def test_there_is_a_bound_for_private_sessions(settings, most):
    assert Endpoint("a", **settings).sessions_max == most
