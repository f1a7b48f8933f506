import pytest
from support.rest_hub import Rest, RestHub


@pytest.fixture
async def hub():
    return RestHub()


@pytest.fixture
async def rest(hub):
    rest = Rest(hub)
    async with rest.client:
        yield rest
