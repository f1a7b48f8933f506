"""A conversation with a model, in no provider's shape: what was said, and what is said next.

    Ask (system, messages, tools) ──► bytes of a wire ──► provider ──► bytes ──► Delta …, Turn

Which bytes those are: `wire/dialogue`, for each wire.
"""

from enum import Enum

from msgspec import Raw, Struct


class Role(Enum):
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """The result of one tool call."""


class ToolCall(Struct, frozen=True, omit_defaults=True):
    """A model's wish."""

    id: str
    """The model's own; unique within its turn. Made up where the wire has none."""
    name: str
    """As the model wrote it: perhaps of no tool that there is."""
    arguments: str
    """As the model wrote it: perhaps no JSON, or none that fits."""
    signature: str = ""
    """What the provider wants back with it, unread (Gemini's `thoughtSignature`)."""


class Message(Struct, frozen=True, omit_defaults=True):
    """What was said."""

    role: Role
    text: str = ""
    context: str = ""
    """Of the user: what a page said, which is not the user's own word."""
    calls: tuple[ToolCall, ...] = ()
    """Of the assistant."""
    call_id: str = ""
    """Of a tool: which of the calls before this is the result of."""
    tool: str = ""
    """Of a tool: its name, as the model called it."""
    is_error: bool = False
    """Of a tool."""
    cut: bool = False
    """Of the assistant: whether it was stopped before it had said all."""


class ToolSpec(Struct, frozen=True):
    """A tool, as a model is told of it."""

    name: str
    """Of `[A-Za-z0-9_-]{1,64}`, as all wires take it."""
    description: str
    schema: Raw
    """JSON Schema of the arguments, an object."""


class Ask(Struct, frozen=True):
    """One request to a model."""

    model: str
    system: str
    messages: tuple[Message, ...]
    """The last one is the user's or a tool's."""
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int | None = None
    """Of the answer; None: as the provider has it."""


class Delta(Struct, frozen=True):
    """A piece of the answer's text."""

    text: str


class Stop(Enum):
    """Why a turn ended."""

    END = "end"
    """It has said all, or waits for the results of its calls."""
    LENGTH = "length"
    """The answer was longer than it may be."""
    REFUSED = "refused"
    """By the model, or by the provider's filter."""
    BROKEN = "broken"
    """The provider said that something failed, or its answer is none."""


class Turn(Struct, frozen=True):
    """The whole of an answer."""

    text: str
    calls: tuple[ToolCall, ...]
    stop: Stop
    problem: str = ""
    """Of one that is BROKEN: what failed, for people."""
