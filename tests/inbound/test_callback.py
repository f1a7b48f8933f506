"""Where a browser comes back after a sign-in, through the hub's gate (A24)."""

import pytest
from support.edge_hub import open_house

from agenthub.domain.errors import InvalidParams


async def come_back(house, query, line="GET"):
    return await house.ask(house.head(f"{line} /oauth/callback{query} HTTP/1.1", key=None))


async def test_a_browser_needs_no_key_and_is_told_what_it_may_use():
    async with open_house() as house:
        answer = await come_back(house, "?state=s&code=c%2B1&iss=https%3A%2F%2Flogin.test")
        assert answer.status == 200
        assert "The hub can use calculator now" in answer.body.decode()
        assert answer["cache-control"] == "no-store"
        assert answer["content-type"] == "text/html; charset=utf-8"
        assert house.hub.sign_ins.answers == [
            {"state": "s", "code": "c+1", "iss": "https://login.test"}
        ]


@pytest.mark.parametrize(
    ("query", "heard"),
    [
        ("", {}),
        ("?state=a&state=b&code=c", {"code": "c"}),
        ("?" + "&".join(f"a{n}=1" for n in range(30)), {}),
        ("?state=" + "x" * 8_200, {}),
        ("?state=%00%FF", {"state": "\x00\ufffd"}),
        ("?error=access_denied&state=s", {"error": "access_denied", "state": "s"}),
    ],
)
async def test_what_is_no_answer_signs_nobody_in(query, heard):
    async with open_house() as house:
        house.hub.sign_ins.error = InvalidParams("No sign-in waits <b>here</b>")
        answer = await come_back(house, query)
        assert answer.status == 400
        assert "No sign-in waits &lt;b&gt;here&lt;/b&gt;" in answer.body.decode()
        assert house.hub.sign_ins.answers == [heard]


async def test_only_a_browser_that_follows_a_link_comes_here():
    async with open_house() as house:
        assert (await come_back(house, "?state=s", "DELETE")).status == 405
        assert house.hub.sign_ins.answers == []
        for path in ("/oauth/callback/x", "/oauth/other"):
            answer = await house.ask(house.head(f"GET {path}?state=s HTTP/1.1", key=None))
            assert answer.status in {401, 404}
        assert house.hub.sign_ins.answers == []
