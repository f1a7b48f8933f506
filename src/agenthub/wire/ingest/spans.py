"""Spans of OpenTelemetry's conventions for generative AI, whose names have changed three times.

Only operations that are one exchange with a model count; those that contain others (invoke_agent,
invoke_workflow) sum them up. Source: semantic-conventions-genai, "Spans", and its change log.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agenthub.domain.usage import Usage
from agenthub.wire.ingest.otlp import attributes, is_subscribed, records, time_ns
from agenthub.wire.ingest.report import Report, identity, text, tokens, whole

_OPERATIONS: Final = frozenset({"chat", "generate_content", "text_completion", "embeddings"})
_USAGE: Final = "gen_ai.usage."
_INPUT: Final = (_USAGE + "input_tokens", _USAGE + "prompt_tokens")
_OUTPUT: Final = (_USAGE + "output_tokens", _USAGE + "completion_tokens")
_READ: Final = (_USAGE + "cache_read.input_tokens", _USAGE + "cache_read_input_tokens")
_WRITTEN: Final = (
    _USAGE + "cache_write.input_tokens",
    _USAGE + "cache_creation.input_tokens",
    _USAGE + "cache_creation_input_tokens",
)
_REASONING: Final = (_USAGE + "reasoning.output_tokens", _USAGE + "reasoning_tokens")


def read_spans(message: Any) -> Iterator[Report]:
    """The reports in an export of traces. A span without ids or counts is none."""
    for shared, span in records(message, "Spans"):
        said = attributes(span)
        trace, number = (text(span.get(name)).lower() for name in ("traceId", "spanId"))
        is_counted = any(whole(said.get(name)) is not None for name in _INPUT + _OUTPUT)
        if said.get("gen_ai.operation.name") in _OPERATIONS and trace and number and is_counted:
            subscribed = is_subscribed(shared, said)
            yield _report(said, span, identity("otlp", trace, number), subscribed=subscribed)


def _model(said: Mapping[str, Any]) -> str:
    """Without what a client adds for itself: claude-opus-4-8[1m]."""
    names = ("gen_ai.response.model", "gen_ai.request.model")
    return next(filter(None, (text(said.get(name)).partition("[")[0] for name in names)), "")


def _report(
    said: Mapping[str, Any], span: Mapping[str, Any], id_: str, *, subscribed: bool
) -> Report:
    began, ended = time_ns(span, "startTimeUnixNano"), time_ns(span, "endTimeUnixNano")
    return Report(
        id_,
        "otlp",
        text(said.get("gen_ai.conversation.id")),
        text(said.get("gen_ai.provider.name")) or text(said.get("gen_ai.system")),
        _model(said),
        Usage(
            tokens(said, *_INPUT),
            tokens(said, *_READ),
            tokens(said, *_WRITTEN),
            output_tokens=tokens(said, *_OUTPUT),
            reasoning_tokens=tokens(said, *_REASONING),
        ).sound(),
        None,
        ended // 1_000,
        max(0, ended - began) // 1_000 if began else 0,
        is_subscribed=subscribed,
    )
