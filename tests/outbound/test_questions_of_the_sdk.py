"""The official SDK's server, spoken to in the old era: its questions reach the client."""

import asyncio
import socket
import sys
from pathlib import Path

import msgspec
from support.http_servers import HttpHouse
from support.stdio_hub import text_of

from agenthub.domain.call import Era

PROGRAM = Path(__file__).parent.parent / "support" / "everything_server.py"
FORM = {"action": "accept", "content": {"username": "anna", "email": "a@x.test"}}
SAMPLE = {"role": "assistant", "content": {"type": "text", "text": "forty-two"}, "model": "m"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def test_the_sdks_server_gets_its_answers():
    port = free_port()
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, "--port", str(port), stdout=quiet, stderr=quiet
    )
    declared = b'{"elicitation":{},"sampling":{}}'
    try:
        async with HttpHouse(f"http://127.0.0.1:{port}/mcp", declared=declared) as house:
            house.upstream.start()
            await house.watcher.until("connected", seconds=30)
            assert house.upstream.state.era is Era.LEGACY
            for tool, answer, said in (
                ("test_elicitation", FORM, "anna"),
                ("test_sampling", SAMPLE, "forty-two"),
            ):
                receiver, attempt = house.begin(tool, message="Who?", prompt="What?")
                (question,) = await receiver.until_asked()
                attempt.answer(question.id, msgspec.json.encode(answer))
                assert said in text_of(await receiver.reply)
    finally:
        process.terminate()
        await process.wait()
