"""Tools of the conformance fixture that need no second round: content, notes, errors, pushes.

A handler gets the SDK's context, the parameters and `Changes`, and returns a result.
"""

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

PAUSE = 0.05
"""Seconds between two notes of a call, as the suite asks."""


@dataclass
class Changes:
    """What the trigger tools add to the lists, or take away again, while the server runs."""

    bus: InMemorySubscriptionBus
    tools: list[types.Tool] = field(default_factory=list)
    prompts: list[types.Prompt] = field(default_factory=list)


MODERN = "2026-07-28"


class NeedsAnswer(Exception):
    """The client has to be asked, and the call made again with its answer."""

    def __init__(self, question: types.InputRequest) -> None:
        super().__init__()
        self.result = types.InputRequiredResult(input_requests={"question": question})


Params = types.CallToolRequestParams
Result = types.CallToolResult | types.InputRequiredResult
Handler = Callable[[Any, Params, Changes], Awaitable[Result]]
TOOLS: dict[str, tuple[types.Tool, Handler]] = {}
EMPTY: dict[str, Any] = {"type": "object", "properties": {}}


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def red_pixel() -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    )


def silence() -> bytes:
    """One silent sample of 8 bit mono sound at 8 kHz, padded to an even length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", 1) + b"\x80\x00"
    return struct.pack("<4sI", b"RIFF", len(body)) + body


PNG = base64.b64encode(red_pixel()).decode()
WAV = base64.b64encode(silence()).decode()


def tool(description: str, schema: dict[str, Any] = EMPTY, into: dict | None = None):
    """Puts the function into the table under its own name."""

    def add(handler: Handler) -> Handler:
        name = handler.__name__
        described = types.Tool(name=name, description=description, input_schema=schema)
        (TOOLS if into is None else into)[name] = (described, handler)
        return handler

    return add


def one_string(name: str, **more: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", **more}},
        "required": [name],
    }


def says(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)])


def resource(uri: str, kind: str, words: str) -> types.EmbeddedResource:
    inner = types.TextResourceContents(uri=uri, mime_type=kind, text=words)
    return types.EmbeddedResource(type="resource", resource=inner)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


@tool("Returns a text")
async def test_simple_text(ctx, params, changes) -> Result:
    return says("This is a simple text response for testing.")


@tool("Returns an image")
async def test_image_content(ctx, params, changes) -> Result:
    return types.CallToolResult(content=[image()])


@tool("Returns a sound")
async def test_audio_content(ctx, params, changes) -> Result:
    sound = types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")
    return types.CallToolResult(content=[sound])


@tool("Returns a resource inside the result")
async def test_embedded_resource(ctx, params, changes) -> Result:
    words = "This is an embedded resource content."
    embedded = resource("test://embedded-resource", "text/plain", words)
    return types.CallToolResult(content=[embedded])


@tool("Returns a text, an image and a resource")
async def test_multiple_content_types(ctx, params, changes) -> Result:
    words = types.TextContent(type="text", text="Multiple content types test:")
    data = json.dumps({"test": "data", "value": 123})
    embedded = resource("test://mixed-content-resource", "application/json", data)
    return types.CallToolResult(content=[words, image(), embedded])


@tool("Sends three log messages while it runs")
async def test_tool_with_logging(ctx, params, changes) -> Result:
    started = ("Tool execution started", "Tool processing data", "Tool execution completed")
    for number, words in enumerate(started):
        if number:
            await asyncio.sleep(PAUSE)
        await ctx.session.send_log_message("info", words, related_request_id=ctx.request_id)
    return says("Three messages were logged")


@tool("Logs once; in the modern era only for a caller that asked for logs")
async def test_logging_tool(ctx, params, changes) -> Result:
    await ctx.session.send_log_message("info", "One message", related_request_id=ctx.request_id)
    return says("One message was logged")


@tool("Reports progress three times")
async def test_tool_with_progress(ctx, params, changes) -> Result:
    for progress in (0, 50, 100):
        await ctx.session.report_progress(progress, 100, f"{progress} of 100")
        if progress < 100:
            await asyncio.sleep(PAUSE)
    return says("Progress was reported")


@tool("Always fails")
async def test_error_handling(ctx, params, changes) -> Result:
    failed = says("This tool intentionally returns an error for testing")
    return failed.model_copy(update={"is_error": True})


@tool("Closes its stream before it answers; the client has to come back for the result")
async def test_reconnection(ctx, params, changes) -> Result:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await asyncio.sleep(2 * PAUSE)
    return says("The stream was closed and resumed")


@tool("Wants its argument in a header, too", one_string("region", **{"x-mcp-header": "Region"}))
async def test_x_mcp_header(ctx, params, changes) -> Result:
    return says(f"Region: {(params.arguments or {}).get('region', '')}")


@tool("Works only for a caller that offers sampling")
async def test_missing_capability(ctx, params, changes) -> Result:
    offered = ctx.session.client_capabilities
    if offered is None or offered.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        data = needed.model_dump(by_alias=True, exclude_none=True)
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "Sampling is required", data)
    return says("The caller offers sampling")


@tool("Answers as a stream with a note before the result, and no request of its own")
async def test_streaming_elicitation(ctx, params, changes) -> Result:
    await ctx.session.report_progress(1, 1)
    return says("Nothing was asked on the stream")


@tool("Adds a tool to the list, or takes it away, and tells who listens")
async def test_trigger_tool_change(ctx, params, changes) -> Result:
    added = types.Tool(name="added_tool", description="Was added", input_schema=EMPTY)
    changes.tools = [] if changes.tools else [added]
    await changes.bus.publish(ToolsListChanged())
    if ctx.protocol_version != MODERN:
        await ctx.session.send_tool_list_changed()
    return says("The list of tools has changed")


@tool("Adds a prompt to the list, or takes it away, and tells who listens")
async def test_trigger_prompt_change(ctx, params, changes) -> Result:
    added = types.Prompt(name="added_prompt", description="Was added")
    changes.prompts = [] if changes.prompts else [added]
    await changes.bus.publish(PromptsListChanged())
    if ctx.protocol_version != MODERN:
        await ctx.session.send_prompt_list_changed()
    return says("The list of prompts has changed")


async def ask(ctx, params, question: types.InputRequest) -> Any:
    """The client's answer: by a request in the old era, by another round in the new one.

    Raises NeedsAnswer in the new era as long as there is none.
    """
    if ctx.protocol_version == MODERN:
        answer = (params.input_responses or {}).get("question")
        if answer is None:
            raise NeedsAnswer(question)
        return answer
    if isinstance(question, types.CreateMessageRequest):
        return await ctx.session.create_message(
            question.params.messages,
            max_tokens=question.params.max_tokens,
            related_request_id=ctx.request_id,
        )
    form = question.params
    return await ctx.session.elicit_form(form.message, form.requested_schema, ctx.request_id)


def sample(prompt: str) -> types.CreateMessageRequest:
    words = types.TextContent(type="text", text=prompt)
    messages = [types.SamplingMessage(role="user", content=words)]
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=messages, max_tokens=100)
    )


def form(message: str, properties: dict[str, Any], required: list[str]) -> types.ElicitRequest:
    schema = {"type": "object", "properties": properties, "required": required}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


@tool("Asks the client's model", one_string("prompt", description="What to ask"))
async def test_sampling(ctx, params, changes) -> Result:
    answer = await ask(ctx, params, sample(params.arguments["prompt"]))
    return says(f"LLM response: {getattr(answer.content, 'text', '')}")


def outcome(opening: str, answer: types.ElicitResult) -> types.CallToolResult:
    return says(f"{opening}: action={answer.action}, content={json.dumps(answer.content or {})}")


@tool("Asks the user", one_string("message", description="What to show"))
async def test_elicitation(ctx, params, changes) -> Result:
    properties = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    question = form(params.arguments["message"], properties, ["username", "email"])
    answer = await ask(ctx, params, question)
    return outcome("User response", answer)


@tool("Asks the user with a default for every primitive type")
async def test_elicitation_sep1034_defaults(ctx, params, changes) -> Result:
    states = ["active", "inactive", "pending"]
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": states, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    answer = await ask(ctx, params, form("Please check", properties, []))
    return outcome("Elicitation completed", answer)


def titled(stem: str, *titles: str) -> list[dict[str, str]]:
    return [{"const": f"{stem}{at}", "title": title} for at, title in enumerate(titles, 1)]


@tool("Asks the user with every form of enumeration")
async def test_elicitation_sep1330_enums(ctx, params, changes) -> Result:
    options = ["option1", "option2", "option3"]
    ordinals = ("First", "Second", "Third")
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {
            "type": "string",
            "oneOf": titled("value", *(f"{one} Option" for one in ordinals)),
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": titled("value", *(f"{one} Choice" for one in ordinals))},
        },
    }
    answer = await ask(ctx, params, form("Please choose", properties, []))
    return outcome("Elicitation completed", answer)


@tool(
    "Tool with JSON Schema 2020-12 features",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
)
async def json_schema_2020_12_tool(ctx, params, changes) -> Result:
    return says(json.dumps(params.arguments or {}))
