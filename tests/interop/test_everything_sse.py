"""The reference server over HTTP+SSE of 2024-11-05, and a client of the same transport."""

import os
import socket
import subprocess
from contextlib import asynccontextmanager, closing

import anyio
import mcp_types as types
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from support.interop_clients import PACKAGES, environment
from support.real_hub import RealHub, wait_for

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
EVERYTHING = PACKAGES / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"


@pytest.fixture(scope="module")
def server():
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        port = one.getsockname()[1]
    there = environment()
    process = subprocess.Popen(
        ["node", EVERYTHING, "sse"], env={**os.environ, **there, "PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: _listens(port))
    yield f"http://127.0.0.1:{port}/sse"
    process.terminate()
    process.wait(10)


def _listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def hub(server, tmp_path_factory):
    with RealHub(tmp_path_factory.mktemp("home"), environment()) as one:
        one.command("add", "everything", "--url", server)
        one.ready("everything")
        yield one


@pytest.fixture(scope="module")
def key(hub):
    return hub.key()


@asynccontextmanager
async def session(hub, key, **callbacks):
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        sse_client(f"{hub.url}/sse/everything", headers=headers) as (read, write),
        ClientSession(read, write, **callbacks) as client,
    ):
        await client.initialize()
        yield client


async def test_calls_and_their_progress(hub, key):
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    async with session(hub, key) as client:
        assert "echo" in {tool.name for tool in (await client.list_tools()).tools}
        answer = await client.call_tool("echo", {"message": "hello"})
        assert answer.content[0].text == "Echo: hello"
        await client.call_tool(
            "trigger-long-running-operation", {"duration": 0.3, "steps": 3},
            progress_callback=progress,
        )  # fmt: skip
        assert seen == [1, 2, 3]


async def test_what_a_client_subscribed_to_is_told_to_it(hub, key):
    told = anyio.Event()
    uris = []

    async def hear(message):
        if isinstance(message, types.ResourceUpdatedNotification):
            uris.append(str(message.params.uri))
            told.set()

    async with session(hub, key, message_handler=hear) as client:
        uri = str((await client.list_resources()).resources[0].uri)
        await client.subscribe_resource(uri)
        with anyio.fail_after(10):
            await client.call_tool("toggle-subscriber-updates", {})
            await told.wait()
        assert set(uris) == {uri}
        await client.unsubscribe_resource(uri)
        await client.call_tool("toggle-subscriber-updates", {})
