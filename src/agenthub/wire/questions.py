"""What a server may ask the client in the middle of a call, and what must be declared for it.

    request                                the client declared
    ─────────────────────────────────────────────────────────────────────────
    roots/list                             roots
    sampling/createMessage                 sampling
      … with `tools` or `toolChoice`       sampling.tools
    elicitation/create, a form             elicitation, empty or with form
    elicitation/create, mode `url`         elicitation.url

Source: MCP specification 2026-07-28, "Patterns, MRTR"; 2025-11-25, "Client Features".
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Raw, Struct, field

from agenthub.wire.jsonrpc import with_members

ELICIT: Final = "elicitation/create"
SAMPLE: Final = "sampling/createMessage"
ROOTS: Final = "roots/list"
QUESTIONS: Final = frozenset({ELICIT, SAMPLE, ROOTS})
MAY_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The requests in the middle of which a server may ask."""
_KINDS: Final = ("elicitation", "sampling", "roots")


class Asked(Struct, frozen=True):
    """One of the requests in an `input_required`."""

    method: str
    params: Raw = Raw(b"{}")


class InputRequired(Struct, frozen=True):
    """A result that asks the client, and is to be asked again with its answers (MRTR)."""

    requests: dict[str, Asked] = field(name="inputRequests", default_factory=dict[str, Asked])
    state: Raw = field(name="requestState", default=Raw())
    """As JSON; empty if the server gave none."""


class _Elicited(Struct):
    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = None


class _Sampled(Struct):
    role: str
    model: str
    content: dict[str, Any] | list[Any]


class _Roots(Struct):
    roots: list[dict[str, Any]]


_SHAPES: Final = {ELICIT: _Elicited, SAMPLE: _Sampled, ROOTS: _Roots}
_input_required = msgspec.json.Decoder(InputRequired).decode


def read_input_required(result: bytes) -> InputRequired:
    """Raises ValueError if the result has not the shape of one that asks."""
    found = _input_required(result)
    if found.state and bytes(found.state)[:1] != b'"':
        raise ValueError("requestState: expected a string")
    for asked in found.requests.values():
        if asked.method not in QUESTIONS or bytes(asked.params)[:1] != b"{":
            raise ValueError(f"{asked.method[:64]} is no question")
    return found


def is_answer(method: str, answer: bytes | Raw) -> bool:
    """Whether an answer, raw JSON, has the shape that the question asks for."""
    try:
        msgspec.json.decode(answer, type=_SHAPES[method])
    except ValueError:
        return False
    return True


def can_be_asked(capabilities: bytes) -> bool:
    """Whether a client that declared this (raw JSON) answers any question at all."""
    return capabilities != b"{}" and any(name in _object(capabilities) for name in _KINDS)


def declared_for_questions(capabilities: bytes) -> bytes:
    """The part of what a client declared that says which questions it answers; canonical JSON."""
    declared = _object(capabilities)
    return msgspec.json.encode(
        {name: declared[name] for name in _KINDS if isinstance(declared.get(name), Mapping)},
        order="sorted",
    )


def permitted(capabilities: bytes, policy: str) -> bytes:
    """What is left of a client's declaration where a server may not ask everything (A36).

    `policy`: as `Endpoint.questions`. A server that is told less asks less.
    """
    if policy == "all" or capabilities == b"{}":
        return capabilities
    return _permitted(capabilities, policy)


@lru_cache(256)
def _permitted(capabilities: bytes, policy: str) -> bytes:
    declared = dict(_object(capabilities))
    if policy == "none":
        for name in _KINDS:
            declared.pop(name, None)
    elif "url" in (elicitation := _part(declared, "elicitation")):
        del declared["elicitation"]
        if "form" in elicitation:
            declared["elicitation"] = {"form": elicitation["form"]}
    return msgspec.json.encode(declared)


def naming(server: str, method: str, params: bytes | Raw) -> bytes:
    """The question's params, saying which of many servers it is that asks a person (A36)."""
    raw = bytes(params)
    if method != ELICIT:
        return raw
    message = _object(raw).get("message")
    shown = f"{server}: {message}" if isinstance(message, str) and message else f"{server} asks"
    return with_members(raw, {"message": msgspec.json.encode(shown)})


def missing_for(method: str, params: bytes, capabilities: bytes) -> dict[str, Any]:
    """What the client did not declare and would have to, as capabilities; empty: it may be asked.

    `params`, `capabilities`: raw JSON.
    """
    declared, asked = _object(capabilities), _object(params)
    if method == ROOTS:
        needed: dict[str, Any] = {"roots": {}}
    elif method == SAMPLE:
        needed = {"sampling": {"tools": {}} if asked.keys() & {"tools", "toolChoice"} else {}}
    elif method == ELICIT:
        needed = {"elicitation": {"url": {}} if asked.get("mode") == "url" else {}}
    else:
        raise ValueError(f"{method[:64]} is no question")
    ((name, parts),) = needed.items()
    has = declared.get(name)
    if not isinstance(has, Mapping):
        return needed
    if name == "elicitation" and not parts:
        # An empty declaration means forms; one that names only `url` means no forms.
        return {} if not has or "form" in has else {"elicitation": {"form": {}}}
    return needed if parts.keys() - has.keys() else {}


def _part(declared: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = declared.get(name)
    return cast("dict[str, Any]", part) if isinstance(part, dict) else {}


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except ValueError:
        return {}
