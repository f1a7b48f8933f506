"""What happens in a run, as whoever follows it is told. `type` is the event's name."""

from typing import Any, TypeAlias

from msgspec import Raw, Struct


class Begun(Struct, frozen=True, tag_field="type", tag="run"):
    run: str
    conversation: str
    model: str
    runner: str


class Context(Struct, frozen=True, tag_field="type", tag="context"):
    """What the model is given, before it is asked."""

    messages: int
    tokens: int
    """By estimate."""
    tools: int
    left_out: int
    """Tools beyond what a model takes."""
    summarised: int
    """Messages that a summary stands for."""


class Piece(Struct, frozen=True, tag_field="type", tag="delta"):
    text: str


class ToolBegun(Struct, frozen=True, tag_field="type", tag="tool_start"):
    id: str
    server: str
    tool: str
    arguments: Raw
    """An object, or a string if the model wrote none."""


class ToolEnded(Struct, frozen=True, tag_field="type", tag="tool_end"):
    id: str
    outcome: str
    """`ok`, `tool_error` (the tool says so), `not_delivered` (the hub could not have it done),
    `denied` (by the user), `refused` (by a limit of the run) or `cancelled`."""
    text: str
    """How the result begins."""
    served_by: str = ""
    attempts: int = 0
    duration_ms: int = 0
    cost_usd: str | None = None


class Approval(Struct, frozen=True, tag_field="type", tag="approval"):
    """A tool waits for the user's word, or has it."""

    id: str
    server: str
    tool: str
    arguments: Raw
    """All of them."""
    why: str
    state: str
    """`asked`, `allowed`, `denied` or `expired`."""


class Elicitation(Struct, frozen=True, tag_field="type", tag="elicitation"):
    """A server asks the user something in the middle of a call, or has its answer."""

    id: str
    server: str
    params: Raw
    """As MCP has it: `message` and `requestedSchema`, or `mode: url` and `url`."""
    state: str
    """`asked`, or as it was answered: `accept`, `decline` or `cancel`."""


class Used(Struct, frozen=True, tag_field="type", tag="usage"):
    """What one answer of the model took, as the ledger has it."""

    model: str
    served_by: str
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_usd: str | None
    """None: there is no price."""
    run_cost_usd: str
    """Of the whole run so far, tools included."""


class Problem(Struct, frozen=True, tag_field="type", tag="error"):
    code: str
    message: str
    retry_in_ms: int | None = None
    """When it is tried again; None: it is not."""


class Done(Struct, frozen=True, tag_field="type", tag="done"):
    """The last event of a run."""

    state: str
    """`done`, `failed` or `cancelled`."""
    cost_usd: str
    duration_ms: int
    model_calls: int
    tool_calls: int


Event: TypeAlias = (
    Begun | Context | Piece | ToolBegun | ToolEnded | Approval | Elicitation | Used | Problem | Done
)


def name_of(event: Event) -> str:
    tag: Any = type(event).__struct_config__.tag
    return str(tag)
