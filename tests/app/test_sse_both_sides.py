"""The Python SDK's HTTP+SSE client and server, and a real hub between them."""

import asyncio
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError
from support.real_hub import RealHub, wait_for

PROGRAM = Path(__file__).parent.parent / "support" / "sse_everything.py"
TEXT = types.TextContent(type="text", text="forty-two")


async def elicit(context, params):
    return types.ElicitResult(action="accept", content={"name": "Eve"})


async def sample(context, params):
    return types.CreateMessageResult(role="assistant", content=TEXT, model="m")


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///a")])


@pytest.fixture(scope="module")
def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("sse") / "out"


@pytest.fixture(scope="module")
def server(port, output):
    with output.open("wb") as out:
        process = subprocess.Popen([sys.executable, PROGRAM, str(port)], stdout=out, stderr=out)
    yield f"http://127.0.0.1:{port}/sse"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def hub(server, tmp_path_factory):
    with RealHub(tmp_path_factory.mktemp("home")) as one:
        one.command("add", "old", "--url", server)
        one.ready("old")
        yield one


@pytest.fixture(scope="module")
def key(hub):
    return hub.key()


@asynccontextmanager
async def session(hub, key, **callbacks):
    """A client's session, at a fresh stream."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        sse_client(f"{hub.url}/sse", headers=headers) as (read, write),
        ClientSession(read, write, **callbacks) as client,
    ):
        await client.initialize()
        yield client


async def call(client, tool, arguments=None, **more):
    answer = await client.call_tool(f"old__{tool}", arguments or {}, **more)
    return "".join(part.text for part in answer.content)


async def test_tools_are_listed_and_called(hub, key):
    async with session(hub, key) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert tools == [f"old__{name}" for name in
                         ("count", "echo", "elicit", "roots", "sample", "sleep")]  # fmt: skip
        assert await call(client, "echo", {"words": "hi"}) == "hi"


async def test_progress_comes_before_the_answer(hub, key):
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    async with session(hub, key) as client:
        assert await call(client, "count", progress_callback=progress) == "3"
        assert seen == [1, 2, 3]


async def test_the_server_asks_the_client(hub, key):
    callbacks = {
        "elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots,
    }  # fmt: skip
    async with session(hub, key, **callbacks) as client:
        assert await call(client, "elicit") == "Eve"
        assert await call(client, "sample") == "forty-two"
        assert await call(client, "roots") == "file:///a"


async def test_what_a_client_did_not_declare_is_not_asked_of_it(hub, key):
    async with session(hub, key) as client:
        with pytest.raises(MCPError, match="did not declare"):
            await call(client, "elicit")


async def test_the_end_of_the_stream_cancels_at_the_server(hub, key, output):
    async with session(hub, key) as client:
        with anyio.move_on_after(2):
            await call(client, "sleep")
    await asyncio.to_thread(wait_for, lambda: b"cancelled" in output.read_bytes())


async def test_a_transport_that_is_named_is_spoken_and_no_other_is_tried(hub, key, server):
    await asyncio.to_thread(hub.command, "add", "named", "--url", server, "--transport", "sse")
    await asyncio.to_thread(hub.ready, "named")
    more = ("--url", server, "--transport", "streamable-http")
    said = await asyncio.to_thread(hub.command, "add", "wrong", *more)
    assert "HTTP 405" in said
    async with session(hub, key) as client:
        answer = await client.call_tool("named__echo", {"words": "hi"})
        assert answer.content[0].text == "hi"
    for name in ("named", "wrong"):
        await asyncio.to_thread(hub.command, "remove", name)
