"""What servers say of how long their lists hold, and what that makes together."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agenthub.domain.caching import OF_NOTHING, TTL_MAX_MS, Caching, caching, merged, ttl_of

words = st.builds(Caching, st.integers(0, TTL_MAX_MS), st.booleans())


def said(ttl, scope):
    return caching(Raw(msgspec.json.encode(ttl)), Raw(msgspec.json.encode(scope)))


@given(st.lists(words, min_size=1))
def test_many_hold_as_long_as_each_of_them_and_are_public_only_together(every):
    whole = merged(every)
    assert all(whole.ttl_ms <= one.ttl_ms for one in every)
    assert whole.ttl_ms in {one.ttl_ms for one in every}
    assert whole.public == all(one.public for one in every)
    assert merged([whole, *every]) == whole


def test_of_no_servers_the_hub_says_it_itself():
    assert merged([]) == OF_NOTHING


def test_what_a_server_says_is_taken_as_it_is():
    assert said(5, "public") == Caching(5, public=True)
    assert said(0, "private") == Caching(0, public=False)


@pytest.mark.parametrize("ttl", [None, -1, "5", 1.5, True, [1]])
def test_what_is_no_time_counts_as_nothing(ttl):
    assert said(ttl, "public").ttl_ms == 0
    assert ttl_of(Raw(msgspec.json.encode(ttl))) is None
    assert ttl_of(Raw()) is None


def test_who_says_nothing_of_sharing_wants_none():
    for scope in (None, "Public", "all", 1):
        assert not said(5, scope).public
    assert caching(Raw(), Raw()) == Caching()


def test_no_list_holds_for_longer_than_an_hour():
    assert said(TTL_MAX_MS + 1, "public").ttl_ms == TTL_MAX_MS
    assert said(10**17, "public").ttl_ms == TTL_MAX_MS
