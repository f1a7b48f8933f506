"""LiteLLM's standard logging payloads, as its callback `generic_api` posts them: a JSON array.

Messages and answers are in them; they are not looked at, nor kept. `prompt_tokens` contains what
came from the cache. What LiteLLM took from its own cache, or failed, has cost nothing.
Source: litellm 1.106, `types/utils.py`, StandardLoggingPayload.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, cast

from agenthub.domain.usage import Usage
from agenthub.wire.ingest.report import Report, dollars, identity, text, tokens

_TIME_END_S: Final = 2**40
_ADDRESS: Final = re.compile(r"(?i:https?)://([A-Za-z0-9._\[\]:-]{1,300})")
_HOUR: Final = "ephemeral_1h_input_tokens"
"""Written to a cache for an hour, as Anthropic has it: dearer than for five minutes."""


def read_payloads(message: Any, own: Collection[str] = ()) -> Iterator[Report]:
    """The reports in one delivery; of a payload without an id, which could count twice, none.

    `own`: what the hub is called (`host:port`); what LiteLLM sent there is in its books already.
    """
    for one in cast("list[Any]", message) if type(message) is list else ():
        payload = _object(one)
        id_ = text(payload.get("litellm_call_id")) or text(payload.get("id"))
        is_own = _place(payload.get("api_base")) in own
        is_cached = payload.get("cache_hit") is True
        if id_ and payload.get("status") == "success" and not is_cached and not is_own:
            yield _report(payload, id_)


def _place(url: Any) -> str:
    """Host and port, as they stand in an address."""
    found = _ADDRESS.match(url) if type(url) is str else None
    return found[1].lower() if found else ""


def _report(payload: Mapping[str, Any], id_: str) -> Report:
    told = _object(_object(payload.get("metadata")).get("usage_object"))
    parts_in = _object(told.get("prompt_tokens_details"))
    parts_out = _object(told.get("completion_tokens_details"))
    provider = text(payload.get("custom_llm_provider"))
    began, ended = _time_us(payload.get("startTime")), _time_us(payload.get("endTime"))
    return Report(
        identity("litellm", id_),
        "litellm",
        text(payload.get("session_id")) or text(payload.get("trace_id")),
        provider,
        text(payload.get("model")).removeprefix(f"{provider}/"),
        Usage(
            tokens(payload, "prompt_tokens"),
            tokens(parts_in, "cached_tokens") or tokens(told, "cache_read_input_tokens"),
            tokens(told, "cache_creation_input_tokens"),
            tokens(_object(parts_in.get("cache_creation_token_details")), _HOUR)
            or tokens(_object(told.get("cache_creation")), _HOUR),
            output_tokens=tokens(payload, "completion_tokens"),
            reasoning_tokens=tokens(parts_out, "reasoning_tokens"),
        ).sound(),
        dollars(payload.get("response_cost")),
        ended,
        max(0, ended - began) if began else 0,
    )


def _time_us(value: Any) -> int:
    """Of seconds with a fraction; 0 if it is no time."""
    is_time = type(value) in {int, float} and 0 <= value < _TIME_END_S
    return int(value * 1_000_000) if is_time else 0


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if type(value) is dict else {}
