"""The edge is tested on the loop that the hub runs on; the rest on asyncio's own."""

import asyncio

import uvloop

ON_UVLOOP = {"test_protocol.py", "test_attacks_http.py", "test_listener.py", "test_web.py"}


def pytest_asyncio_loop_factories(config, item):
    if item.path.name in ON_UVLOOP:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
