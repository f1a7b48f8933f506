"""LiteLLM's SDK as it is released, with the hub's logger: asks, and prints what each call cost.

client_litellm.py PROVIDER HUB KEY SPOOL
"""

import asyncio
import json
import sys

import litellm

from agenthub.integrations.litellm import AgentHubLogger

PROVIDER, HUB, KEY, SPOOL = sys.argv[1:]
ASKED = [{"role": "user", "content": "hello"}]
litellm.callbacks = [AgentHubLogger(HUB, KEY, SPOOL)]
CHAT = {"model": "openai/gpt-5.5", "api_base": f"{PROVIDER}/v1", "api_key": "x"}
MESSAGES = {"model": "anthropic/claude-sonnet-4-5", "api_base": PROVIDER, "api_key": "x"}


async def main() -> None:
    costs = []
    for model in (CHAT, MESSAGES):
        answer = litellm.completion(messages=ASKED, max_tokens=99, **model)
        costs.append(answer._hidden_params["response_cost"])
        answer = await litellm.acompletion(messages=ASKED, max_tokens=99, **model)
        costs.append(answer._hidden_params["response_cost"])
        stream = await litellm.acompletion(
            messages=ASKED, max_tokens=99, stream=True, stream_options={"include_usage": True},
            **model,
        )  # fmt: skip
        async for _ in stream:
            pass
    await asyncio.sleep(2)
    print(json.dumps(costs))


asyncio.run(main())
