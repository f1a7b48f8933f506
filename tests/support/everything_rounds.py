"""Tools of the conformance fixture that ask before they answer (`input_required`, 2026-07-28).

A tool is asked again with the caller's answers; which round it is stands in `requestState`, which
the SDK's boundary seals on its way out and checks on its way in. In the old era the client is asked
in the middle of the call instead (`in_one_round`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import mcp_types as types
from everything_tools import Handler, Params, Result, says, tool
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

TOOLS: dict[str, tuple[types.Tool, Handler]] = {}
Requests = dict[str, types.InputRequest]


def seal() -> RequestStateBoundary:
    return RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="everything")


def form(message: str, name: str, kind: str = "string") -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    form_params = types.ElicitRequestFormParams(message=message, requested_schema=schema)
    return types.ElicitRequest(params=form_params)


def sample(words: str, tokens: int) -> types.CreateMessageRequest:
    content = types.TextContent(type="text", text=words)
    asked = types.SamplingMessage(role="user", content=content)
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[asked], max_tokens=tokens)
    )


PROMPT_QUESTION = form("What context should the prompt use?", "context")
NAME = {"user_name": form("What is your name?", "name")}
CAPITAL = {"capital_question": sample("What is the capital of France?", 100)}
ROOTS = {"client_roots": types.ListRootsRequest()}
CONFIRM = {"confirm": form("Please confirm", "ok", "boolean")}
STEPS = (
    {"step1": form("Step 1: What is your name?", "name")},
    {"step2": form("Step 2: What is your favorite color?", "color")},
)


def ask(requests: Requests, state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


async def in_one_round(ctx: Any, params: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `call` ends with when the client of the old era is asked all that it wants to know."""
    while isinstance(result := await call(params), types.InputRequiredResult):
        asked = result.input_requests or {}
        answers = await asyncio.gather(*(ask_in_the_call(ctx, one) for one in asked.values()))
        state = {
            "input_responses": dict(zip(asked, answers, strict=True)),
            "request_state": result.request_state,
        }
        params = params.model_copy(update=state)
    return result


async def ask_in_the_call(ctx: Any, question: types.InputRequest) -> Any:
    if isinstance(question, types.ListRootsRequest):
        return await ctx.session.list_roots()
    asked = question.params
    if isinstance(question, types.CreateMessageRequest):
        return await ctx.session.create_message(
            asked.messages, max_tokens=asked.max_tokens, related_request_id=ctx.request_id
        )
    return await ctx.session.elicit_form(asked.message, asked.requested_schema, ctx.request_id)


def answered(params: Params, keys: Iterable[str]) -> bool:
    return set(keys) <= set(params.input_responses or {})


def filled(params: Params, key: str, name: str) -> str | None:
    """What the user wrote into a form's field, or None when it must be asked again."""
    answer = (params.input_responses or {}).get(key)
    if not isinstance(answer, types.ElicitResult):
        return None
    value = (answer.content or {}).get(name)
    return None if value is None else str(value)


@tool("Asks for a name", into=TOOLS)
async def test_input_required_result_elicitation(ctx, params, changes) -> Result:
    name = filled(params, "user_name", "name")
    return ask(NAME) if name is None else says(f"Hello, {name}!")


@tool("Asks the client's model", into=TOOLS)
async def test_input_required_result_sampling(ctx, params, changes) -> Result:
    if not answered(params, CAPITAL):
        return ask(CAPITAL)
    answer = params.input_responses["capital_question"]
    return says(f"The model said: {getattr(answer.content, 'text', '')}")


@tool("Asks for the client's roots", into=TOOLS)
async def test_input_required_result_list_roots(ctx, params, changes) -> Result:
    if not answered(params, ROOTS):
        return ask(ROOTS)
    roots = params.input_responses["client_roots"].roots
    return says("Roots: " + ", ".join(str(root.uri) for root in roots))


@tool("Asks with a state that must come back", into=TOOLS)
async def test_input_required_result_request_state(ctx, params, changes) -> Result:
    if params.request_state != "asked" or not answered(params, CONFIRM):
        return ask(CONFIRM, "asked")
    return says("state-ok")


@tool("Asks with a state that must not be altered", into=TOOLS)
async def test_input_required_result_tampered_state(ctx, params, changes) -> Result:
    if params.request_state != "sealed" or not answered(params, CONFIRM):
        return ask(CONFIRM, "sealed")
    return says("state-ok")


@tool("Asks user, model and roots at once", into=TOOLS)
async def test_input_required_result_multiple_inputs(ctx, params, changes) -> Result:
    every: Requests = {**NAME, "greeting": sample("Generate a greeting", 50), **ROOTS}
    if params.request_state != "all" or not answered(params, every):
        return ask(every, "all")
    return says(f"Hello, {filled(params, 'user_name', 'name')}!")


@tool("Asks twice", into=TOOLS)
async def test_input_required_result_multi_round(ctx, params, changes) -> Result:
    match params.request_state:
        case None:
            return ask(STEPS[0], "asked")
        case "asked":
            name = filled(params, "step1", "name")
            return ask(STEPS[0], "asked") if name is None else ask(STEPS[1], f"name:{name}")
        case state:
            colour = filled(params, "step2", "color")
            if colour is None:
                return ask(STEPS[1], state)
            return says(f"{state.removeprefix('name:')} likes {colour}")


@tool("Asks only for what the caller offers", into=TOOLS)
async def test_input_required_result_capabilities(ctx, params, changes) -> Result:
    offered = ctx.session.client_capabilities or types.ClientCapabilities()
    asked: Requests = {}
    if offered.elicitation is not None:
        asked |= NAME
    if offered.sampling is not None:
        asked |= CAPITAL
    if not asked or answered(params, asked):
        return says("Nothing is left to ask")
    return ask(asked)
