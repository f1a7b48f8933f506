"""Calls of language models over the house of fakes: providers, what they use, and how they end."""

from support.fake_upstream import Act, result
from support.house import ANNA, Heard, server

from agenthub.domain.call import Call
from agenthub.domain.content import Content, targets_of
from agenthub.domain.outcome import Ending, Reply
from agenthub.domain.provider import Llm
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.usage import Usage
from agenthub.wire.llm.seen import Seen

BODY = b"x" * 297
"""115 tokens of input at most, as the till guesses."""


def saw(usage=None, *, complete=True, tokens=0, **more):
    """What was seen of an answer; `tokens` of output as they are guessed from their bytes."""
    return Seen(usage, complete=complete, counted=3 * tokens, **more)


def provider(name, **more):
    llm = Llm(provider=more.pop("prices", name), wires=("chat",), **more.pop("llm", {}))
    return server(name, llm=llm, **more)


def used(read=100, written=10, *, after=MILLISECOND, **facts):
    """A whole answer, with its usage."""
    seen = saw(Usage(input_tokens=read, output_tokens=written), **facts)
    return Act(Reply(Ending.RESULT, result=b"{}", status=200, seen=seen), after=after)


def says_nothing():
    return result(b"{}", seen=saw(tokens=7))


def ask(
    hub,
    *targets,
    caller=ANNA,
    stream=False,
    most=None,
    free=False,
    key=None,
    seconds=60,
    request=None,
):
    """Start a call: the receiver that will hear its end, and the passage."""
    found = targets_of("fast", targets)
    content = Content(
        "chat", "/chat/completions", "", BODY, (), stream, most, free, found, request=request
    )
    call = Call(
        hub.ids(), caller, "llm", found[0].endpoint, "llm/chat", "fast", {}, {},
        hub.clock.now() + seconds * SECOND, idempotency_key=key, content=content,
    )  # fmt: skip
    heard = Heard()
    return heard, hub.gateway.start(call, heard)
