"""The command that the conformance suite starts as a client: the hub, in front of its server.

    python hub_as_client.py URL

A client of the official SDK, in the era of the scenario, does through the hub all that the server
offers: what the suite then sees at its server is the hub's.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2
import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError
from support.interop_clients import LEGACY
from support.real_hub import AGENTHUB, RealHub, wait_for

CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
MODE = "legacy" if os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"] <= LEGACY else "auto"
SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
PUBLIC = "https://conformance-test.local"
"""Where the suite takes the hub to be when it is known by its metadata document."""
SIGN_INS_MAX = 3
SAMPLES = {"string": "x", "number": 1, "integer": 1, "boolean": True, "object": {}, "array": []}


async def accept(context: object, params: Any) -> types.ElicitResult:
    """As a person who changes nothing in a form, and ticks the box."""
    fields = params.requested_schema["properties"]
    filled = {name: one.get("default", SAMPLES[one["type"]]) for name, one in fields.items()}
    return types.ElicitResult(action="accept", content=filled)


def arguments(tool: types.Tool, schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Some that fit; a tool that takes a schema is given that of the first tool."""
    wanted = tool.input_schema
    fields = wanted.get("properties", {})
    given = {name: SAMPLES[fields[name]["type"]] for name in wanted.get("required", ())}
    return {**given, **({"schema": schemas[0]} if "schema" in given else {})}


async def drive(url: str) -> None:
    async with Client(url, mode=MODE, elicitation_callback=accept) as client:
        can = client.server_capabilities
        if can.tools is not None:
            await call_all(client)
        if can.resources is not None:
            for resource in (await client.list_resources()).resources:
                await client.read_resource(resource.uri)
        if can.prompts is not None:
            for prompt in (await client.list_prompts()).prompts:
                await client.get_prompt(prompt.name)


async def call_all(client: Client) -> None:
    tools = (await client.list_tools()).tools
    wanted = CONTEXT.get("toolCalls")
    if wanted is None:
        schemas = [one.input_schema for one in tools]
        wanted = [{"name": one.name, "arguments": arguments(one, schemas)} for one in tools]
    for call in wanted:
        with suppress(MCPError):  # What the hub finds unfit the server need not see.
            await client.call_tool(call["name"], call["arguments"])


def add(hub: RealHub, url: str) -> None:
    """The server; with the client that the suite's authorization server knows already, if any."""
    known = ()
    if "client_id" in CONTEXT:
        known = ("--client-id", CONTEXT["client_id"], "--client-secret", "${SUITE_SECRET}",
                 "--issuer", CONTEXT["issuer"])  # fmt: skip
    is_behind_oauth = SCENARIO.startswith("auth/")
    options = ("--oauth", *known) if is_behind_oauth else ()
    hub.command("add", "suite", "--url", url, "--no-limit", *options)


def sign_in(hub: RealHub) -> None:
    """As a person does in a browser; the suite's authorization server asks for no password."""
    login = subprocess.Popen(
        [str(AGENTHUB), "login", "suite", "--no-browser", "--json"],
        stdout=subprocess.PIPE, text=True, env=hub.environment,
    )  # fmt: skip
    assert login.stdout is not None
    page = httpx2.get(json.loads(login.stdout.readline())["url"], trust_env=False)
    back = page.headers["location"].replace(PUBLIC, hub.url)
    httpx2.get(back, trust_env=False)
    login.wait(20)


def drive_behind_oauth(hub: RealHub) -> None:
    """As an operator does who signs in whenever the hub says that this helps."""
    for _ in range(SIGN_INS_MAX):
        sign_in(hub)
        wait_for(lambda: hub.servers()["suite"]["health"] != "starting")
        with suppress(Exception):  # What is refused now may be granted after the next sign-in.
            asyncio.run(drive(f"{hub.url}/mcp/suite"))
        if "`agenthub login suite`" not in hub.command("check"):
            return


def main() -> None:
    (url,) = sys.argv[1:]
    environment = {
        "AGENTHUB__AUTH__ANONYMOUS_LOOPBACK": "true",
        "SUITE_SECRET": CONTEXT.get("client_secret", ""),
    }
    if SCENARIO == "auth/basic-cimd":
        environment["AGENTHUB__SERVER__PUBLIC_URL"] = PUBLIC
    with (
        tempfile.TemporaryDirectory() as home,
        RealHub(Path(home), **environment) as hub,
    ):
        add(hub, url)
        if SCENARIO.startswith("auth/"):
            drive_behind_oauth(hub)
        else:
            hub.ready("suite")
            asyncio.run(drive(f"{hub.url}/mcp/suite"))


main()
