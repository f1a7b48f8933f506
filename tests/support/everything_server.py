"""The server that the official conformance suite expects behind an endpoint, in both eras.

    python tests/support/everything_server.py --port N [--only modern|legacy]

Names and texts are the suite's; it listens on 127.0.0.1 only. What it offers is in three tables:
`everything_tools.TOOLS`, `everything_rounds.TOOLS` and, here, the resources and prompts.
"""

import argparse
import json
import warnings
from functools import partial
from itertools import count

import mcp_types as types
import uvicorn
from everything_rounds import PROMPT_QUESTION, in_one_round, seal
from everything_rounds import TOOLS as ROUND_TOOLS
from everything_tools import MODERN, PNG, TOOLS, Changes, Handler, NeedsAnswer, Result
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from starlette.responses import JSONResponse

EVERY_TOOL: dict[str, tuple[types.Tool, Handler]] = {**TOOLS, **ROUND_TOOLS}
TEMPLATE = "test://template/{id}/data"
RESOURCES = {
    "test://static-text": ("text/plain", "This is the content of the static text resource."),
    "test://static-binary": ("image/png", PNG),
    "test://watched-resource": ("text/plain", "Watched resource content"),
}
MINUTE = CacheHint(ttl_ms=60_000, scope="public")


def user(content: types.ContentBlock) -> types.PromptMessage:
    return types.PromptMessage(role="user", content=content)


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def argument(name: str, description: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=description, required=True)


PROMPTS = {
    "test_simple_prompt": ("A prompt without arguments", []),
    "test_prompt_with_arguments": (
        "A prompt with two arguments",
        [argument("arg1", "First test argument"), argument("arg2", "Second test argument")],
    ),
    "test_prompt_with_embedded_resource": (
        "A prompt that embeds a resource",
        [argument("resourceUri", "URI of the resource to embed")],
    ),
    "test_prompt_with_image": ("A prompt with an image", []),
    "test_input_required_result_prompt": ("A prompt that asks before it answers", []),
}


def prompt_messages(name: str, given: dict[str, str]) -> list[types.PromptMessage]:
    match name:
        case "test_simple_prompt":
            return [user(text("This is a simple prompt for testing."))]
        case "test_prompt_with_arguments":
            words = f"arg1='{given.get('arg1', '')}', arg2='{given.get('arg2', '')}'"
            return [user(text(f"Prompt with arguments: {words}"))]
        case "test_prompt_with_embedded_resource":
            resource = types.TextResourceContents(
                uri=given.get("resourceUri", ""),
                mime_type="text/plain",
                text="Embedded resource content for testing.",
            )
            embedded = types.EmbeddedResource(type="resource", resource=resource)
            return [user(embedded), user(text("Please process the embedded resource above."))]
        case "test_prompt_with_image":
            image = types.ImageContent(type="image", data=PNG, mime_type="image/png")
            return [user(image), user(text("Please analyze the image above."))]
        case _:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {name}")


class Events(EventStore):
    """Every event of every stream, so that a client which reconnects misses none."""

    def __init__(self) -> None:
        self._events: dict[str, tuple[str, types.JSONRPCMessage | None]] = {}
        self._ids = count(1)

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        event_id = str(next(self._ids))
        self._events[event_id] = (stream_id, message)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback):
        seen = self._events.get(last_event_id)
        if seen is None:
            return None
        for event_id, (stream_id, message) in list(self._events.items()):
            if stream_id == seen[0] and int(event_id) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, event_id))
        return seen[0]


class Everything:
    """The handlers of one server; what changes at run time is in `changes`."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.changes = Changes(self.bus)

    async def list_tools(self, ctx, params) -> types.ListToolsResult:
        tools = [tool for tool, _ in EVERY_TOOL.values()]
        return types.ListToolsResult(tools=[*tools, *self.changes.tools])

    async def call_tool(self, ctx, params: types.CallToolRequestParams):
        if params.name not in EVERY_TOOL:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")

        async def call(given: types.CallToolRequestParams) -> Result:
            try:
                return await EVERY_TOOL[params.name][1](ctx, given, self.changes)
            except NeedsAnswer as needs:
                return needs.result

        if ctx.protocol_version == MODERN:
            return await call(params)
        return await in_one_round(ctx, params, call)

    async def list_resources(self, ctx, params) -> types.ListResourcesResult:
        return types.ListResourcesResult(
            resources=[
                types.Resource(
                    uri=uri,
                    name=uri.removeprefix("test://"),
                    description=f"The {uri}",
                    mime_type=kind,
                )
                for uri, (kind, _) in RESOURCES.items()
            ]
        )

    async def list_templates(self, ctx, params) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            uri_template=TEMPLATE,
            name="template",
            description="Data by id",
            mime_type="application/json",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, ctx, params: types.ReadResourceRequestParams):
        uri = str(params.uri)
        kind, content = RESOURCES.get(uri, ("application/json", ""))
        if not content:
            content = json.dumps(self._template_data(uri))
        if kind == "image/png":
            whole = types.BlobResourceContents(uri=uri, mime_type=kind, blob=content)
        else:
            whole = types.TextResourceContents(uri=uri, mime_type=kind, text=content)
        return types.ReadResourceResult(contents=[whole])

    @staticmethod
    def _template_data(uri: str) -> dict[str, object]:
        before, after = TEMPLATE.split("{id}")
        key = uri.removeprefix(before).removesuffix(after)
        if before + key + after != uri or not key or "/" in key:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
        return {"id": key, "templateTest": True, "data": f"Data for ID: {key}"}

    async def subscription(self, ctx, params) -> types.EmptyResult:
        return types.EmptyResult()

    async def list_prompts(self, ctx, params) -> types.ListPromptsResult:
        prompts = [
            types.Prompt(name=name, description=description, arguments=arguments or None)
            for name, (description, arguments) in PROMPTS.items()
        ]
        return types.ListPromptsResult(prompts=[*prompts, *self.changes.prompts])

    async def get_prompt(self, ctx, params: types.GetPromptRequestParams):
        if ctx.protocol_version == MODERN:
            return await self._prompt(params)
        return await in_one_round(ctx, params, self._prompt)

    async def _prompt(self, params: types.GetPromptRequestParams):
        if params.name == "test_input_required_result_prompt":
            answer = (params.input_responses or {}).get("user_context")
            if not isinstance(answer, types.ElicitResult):
                return types.InputRequiredResult(input_requests={"user_context": PROMPT_QUESTION})
            context = (answer.content or {}).get("context", "")
            return types.GetPromptResult(messages=[user(text(f"Use this context: {context}"))])
        messages = prompt_messages(params.name, params.arguments or {})
        return types.GetPromptResult(messages=messages)

    async def complete(self, ctx, params: types.CompleteRequestParams) -> types.CompleteResult:
        words = ["paris", "park", "party"]
        values = [word for word in words if word.startswith(params.argument.value)]
        completion = types.Completion(values=values, total=len(values), has_more=False)
        return types.CompleteResult(completion=completion)


def server() -> Server:
    everything = Everything()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)  # The suite asks for them.
        made = Server(
            "everything",
            version="1.0.0",
            cache_hints=dict.fromkeys(
                (
                    "server/discover",
                    "tools/list",
                    "prompts/list",
                    "resources/list",
                    "resources/templates/list",
                    "resources/read",
                ),
                MINUTE,
            ),
            get_tool_input_schema=lambda name: (
                EVERY_TOOL[name][0].input_schema if name in EVERY_TOOL else None
            ),
            on_list_tools=everything.list_tools,
            on_call_tool=everything.call_tool,
            on_list_resources=everything.list_resources,
            on_list_resource_templates=everything.list_templates,
            on_read_resource=everything.read_resource,
            on_subscribe_resource=everything.subscription,
            on_unsubscribe_resource=everything.subscription,
            on_subscriptions_listen=ListenHandler(everything.bus),
            on_list_prompts=everything.list_prompts,
            on_get_prompt=everything.get_prompt,
            on_completion=everything.complete,
            on_set_logging_level=everything.subscription,
        )
    made.middleware.append(seal())
    changing = NotificationOptions(prompts_changed=True, tools_changed=True)
    made.create_initialization_options = partial(made.create_initialization_options, changing)
    return made


async def only_modern(ctx, call_next):
    """A server that does not know the old era."""
    if ctx.protocol_version != MODERN:
        data = {"supported": [MODERN], "requested": ctx.protocol_version}
        raise MCPError(types.UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", data)
    return await call_next(ctx)


class OnlyLegacy:
    """ASGI: to a server of the old era a request of the new one is one without a session."""

    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"mcp-protocol-version") != MODERN.encode():
            await self._app(scope, receive, send)
            return
        error = {"code": types.INVALID_REQUEST, "message": "Bad Request: Missing session ID"}
        body = {"jsonrpc": "2.0", "id": "server-error", "error": error}
        await JSONResponse(body, 400)(scope, receive, send)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--only", choices=["modern", "legacy"])
    given = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    made = server()
    if given.only == "modern":
        made.middleware.insert(0, only_modern)
    app = made.streamable_http_app(event_store=Events(), retry_interval=100)
    served = OnlyLegacy(app) if given.only == "legacy" else app
    uvicorn.run(served, host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
