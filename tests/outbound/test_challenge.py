"""What a server says of tokens to who shows none."""

import json

import pytest
from support.login_server import login_server

from agenthub.outbound import challenge
from agenthub.outbound.challenge import challenge_of, metadata_in, scopes_in


async def test_it_is_asked_for_by_a_request_that_shows_no_token():
    async with login_server() as work:
        work.challenge = 'Bearer scope="a b"'
        work.replies["/mcp"] = lambda post: (401, {})
        assert await challenge_of(f"{work.url}/mcp") == 'Bearer scope="a b"'
        (post,) = work.posts
        assert "authorization" not in post.headers
        assert post.headers["mcp-method"] == "server/discover"
        assert json.loads(post.body)["method"] == "server/discover"


async def test_of_several_schemes_all_are_heard():
    async with login_server() as work:
        work.challenge = 'Basic realm="x"\nBearer scope="a"'
        assert await challenge_of(f"{work.url}/mcp") == 'Basic realm="x", Bearer scope="a"'


@pytest.mark.parametrize("raw", [b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b""])
async def test_a_server_that_says_nothing_of_tokens_is_no_error(monkeypatch, raw):
    monkeypatch.setattr(challenge, "TIMEOUT_S", 0.2)
    async with login_server() as work:
        work.raw = raw
        assert await challenge_of(f"{work.url}/mcp") == ""
    assert await challenge_of(f"{work.url}/mcp") == ""
    assert await challenge_of("http://x\0/") == ""


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ("", ()),
        ("Bearer", ()),
        ('Bearer scope="a b"', ("a", "b")),
        ('Bearer error="x", Scope = "a"', ("a",)),
        ('Bearer realm="x",scope=a', ("a",)),
        ('Bearer noscope="a"', ()),
        ('Bearer scope=""', ()),
        ('Bearer scope="a ä \x01b c"', ("a", "c")),
        ('Bearer scope="a', ()),
        ('Bearer scope="' + "a " * 900 + '"', ("a",) * 100),
    ],
)
def test_the_scopes_in_it(said, scopes):
    assert scopes_in(said) == scopes


def test_the_address_of_the_metadata_in_it():
    assert metadata_in('Bearer scope="a", resource_metadata="https://x/y"') == "https://x/y"
    assert metadata_in("Bearer resource_metadata=https://x/y") == "https://x/y"
    assert metadata_in("Bearer") == ""
