"""The SDKs of OpenAI and Anthropic, unmodified, at a hub: what each says, as one JSON object.

Called with the hub's address and a key. Everything is asked of the demo model.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import anthropic
import openai

URL, KEY = sys.argv[1:3]
MODEL = "demo/demo-1"
ASKED: Any = [{"role": "user", "content": "Good morning"}]
ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
SUM: Any = [{"role": "user", "content": "add 2 and 3"}]

gpt = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, timeout=30)
claude = anthropic.Anthropic(base_url=URL, api_key=KEY, timeout=30)


def chat() -> Any:
    answer = gpt.chat.completions.create(model=MODEL, messages=ASKED)
    return [answer.choices[0].message.content, answer.usage.completion_tokens > 0]


def chat_stream() -> Any:
    words, usages = "", 0
    for chunk in gpt.chat.completions.create(model=MODEL, messages=ASKED, stream=True):
        usages += chunk.usage is not None
        words += "".join(choice.delta.content or "" for choice in chunk.choices)
    return [words, usages]


def chat_stream_with_usage() -> Any:
    options: Any = {"include_usage": True}
    chunks = list(
        gpt.chat.completions.create(
            model=MODEL, messages=ASKED, stream=True, stream_options=options
        )
    )
    return [len(chunks[-1].choices), chunks[-1].usage.completion_tokens > 0]


def chat_tools() -> Any:
    """A round: the model calls the tool, and reads what it said."""
    tools: Any = [
        {
            "type": "function",
            "function": {"name": "add", "description": "Add numbers", "parameters": ADD},
        }
    ]
    asked = list(SUM)
    message = gpt.chat.completions.create(model=MODEL, messages=asked, tools=tools).choices[0]
    (call,) = message.message.tool_calls
    asked += [message.message, {"role": "tool", "tool_call_id": call.id, "content": "5"}]
    last = gpt.chat.completions.create(model=MODEL, messages=asked, tools=tools).choices[0]
    return [message.finish_reason, call.function.arguments, last.message.content]


def responses() -> Any:
    answer = gpt.responses.create(model=MODEL, input="Good morning")
    return [answer.status, answer.output_text, answer.usage.output_tokens > 0]


def responses_stream() -> Any:
    with gpt.responses.stream(model=MODEL, input="Good morning") as stream:
        for _ in stream:
            pass
        return [stream.get_final_response().output_text]


def responses_tools() -> Any:
    tools: Any = [{"type": "function", "name": "add", "parameters": ADD, "strict": False}]
    with gpt.responses.stream(model=MODEL, input="add 2 and 3", tools=tools) as stream:
        for _ in stream:
            pass
        (item,) = stream.get_final_response().output
    return [item.type, item.arguments]


def messages() -> Any:
    answer = claude.messages.create(model=MODEL, max_tokens=50, messages=ASKED)
    return [answer.stop_reason, answer.content[0].text, answer.usage.output_tokens > 0]


def messages_stream() -> Any:
    with claude.messages.stream(model=MODEL, max_tokens=50, messages=ASKED) as stream:
        words = "".join(stream.text_stream)
        final = stream.get_final_message()
    return [words, final.stop_reason, final.usage.output_tokens > 1]


def messages_tools() -> Any:
    tools: Any = [{"name": "add", "description": "Add numbers", "input_schema": ADD}]
    asked = list(SUM)
    with claude.messages.stream(model=MODEL, max_tokens=50, messages=asked, tools=tools) as stream:
        message = stream.get_final_message()
    (use,) = message.content
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "5"}
    asked += [{"role": "assistant", "content": message.content}]
    asked += [{"role": "user", "content": [result]}]
    last = claude.messages.create(model=MODEL, max_tokens=50, messages=asked, tools=tools)
    return [message.stop_reason, use.input, last.content[0].text]


def count_tokens() -> Any:
    return claude.messages.count_tokens(model=MODEL, messages=ASKED).input_tokens > 0


def embeddings() -> Any:
    answer = gpt.embeddings.create(model=MODEL, input=["a", "b"])
    return [len(answer.data), len(answer.data[0].embedding) > 1, answer.usage.prompt_tokens > 0]


def models() -> Any:
    names = {one.id for one in gpt.models.list()}
    same = {one.id for one in claude.models.list()}
    one = [gpt.models.retrieve(MODEL).id, claude.models.retrieve(MODEL).id]
    return [MODEL in names, names == same, one]


def unknown_model() -> Any:
    return [
        _error(lambda: gpt.chat.completions.create(model="nobody/x", messages=ASKED)),
        _error(lambda: claude.messages.create(model="nobody/x", max_tokens=5, messages=ASKED)),
    ]


def wrong_key() -> Any:
    return [
        _error(lambda: gpt.with_options(api_key="x" * 40).responses.create(model=MODEL, input="")),
        _error(
            lambda: claude.with_options(api_key="x" * 40).messages.create(
                model=MODEL, max_tokens=5, messages=ASKED
            )
        ),
    ]


def refusals() -> Any:
    """What the SDK itself repeats, and raises in the end."""
    asked: Any = [{"role": "user", "content": "!529"}]
    once = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    anew = claude.with_options(max_retries=0)
    return [
        _error(lambda: once.chat.completions.create(model=MODEL, messages=asked)),
        _error(lambda: anew.messages.create(model=MODEL, max_tokens=5, messages=asked)),
    ]


def cut() -> Any:
    """A stream that ends before its end raises, and is no short answer."""
    asked: Any = [{"role": "user", "content": "!cut in the middle of these words"}]

    def chat() -> None:
        for _ in gpt.chat.completions.create(model=MODEL, messages=asked, stream=True):
            pass

    def talk() -> None:
        with claude.messages.stream(model=MODEL, max_tokens=50, messages=asked) as stream:
            stream.get_final_message()

    def respond() -> None:
        for _ in gpt.responses.create(model=MODEL, input=asked[0]["content"], stream=True):
            pass

    return [_error(chat), _error(talk), _error(respond)]


def abort() -> Any:
    """The client hangs up after the first words."""

    async def first() -> str:
        client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY)
        asked: Any = [{"role": "user", "content": "abort " * 40}]
        stream = await client.chat.completions.create(model=MODEL, messages=asked, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                await stream.close()
                return chunk.choices[0].delta.content
        return ""

    return len(asyncio.run(first())) > 0


def broke() -> Any:
    """A budget that is used up: the class of the error, its words, and how often it was asked."""
    return [
        _error(lambda: gpt.chat.completions.create(model=MODEL, messages=ASKED)),
        _error(lambda: gpt.chat.completions.create(model=MODEL, messages=ASKED, stream=True)),
        _error(lambda: gpt.responses.create(model=MODEL, input="hello")),
        _error(lambda: gpt.embeddings.create(model=MODEL, input="hello")),
        _error(lambda: claude.messages.create(model=MODEL, max_tokens=5, messages=ASKED)),
    ]


def _error(ask: Callable[[], Any]) -> Any:
    """The class of what it raises, its status and the type that the hub gives it."""
    try:
        ask()
    except (openai.APIError, anthropic.APIError) as error:
        said: Any = error.body if isinstance(error.body, dict) else {}
        said = said.get("error", said)
        kind = said.get("type") if isinstance(said, dict) else None
        return [type(error).__name__, getattr(error, "status_code", None), kind]
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        return [type(error).__name__, str(error)[:100]]
    return "no error"


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in sys.argv[3:]}))
