"""The hub's own document, which authorization servers read: through the gate, without a key."""

import pytest
from support.edge_hub import open_house

from agenthub.wire.oauth_client import document

PUBLIC = "https://hub.example.com"


async def read(house, line="GET /client-metadata.json HTTP/1.1"):
    async with house.client() as client:
        return await client.ask(house.head(line, key=None), head_only=line.startswith("HEAD"))


async def test_anybody_may_read_who_the_hub_is():
    async with open_house(server={"public_url": f"{PUBLIC}/"}) as house:
        answer = await read(house)
        assert (answer.status, answer["content-type"]) == (200, "application/json")
        assert answer.json == document(PUBLIC)


@pytest.mark.parametrize("public", ["", "http://127.0.0.1:8787"])
async def test_a_hub_without_an_https_address_has_none(public):
    async with open_house(server={"public_url": public}) as house:
        assert (await read(house)).status == 404


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("HEAD /client-metadata.json HTTP/1.1", 200),
        ("DELETE /client-metadata.json HTTP/1.1", 405),
        ("GET /client-metadata.json/x HTTP/1.1", 401),
    ],
)
async def test_it_is_only_read(line, status):
    async with open_house(server={"public_url": PUBLIC}) as house:
        assert (await read(house, line)).status == status
