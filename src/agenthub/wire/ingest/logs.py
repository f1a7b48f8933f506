"""Log records of coding agents: one for each answer of a model.

Claude Code: `api_request`; `input_tokens` is without what came from the cache. Codex:
`codex.sse_event` of the kind `response.completed`, which comes twice, and only one has counts; they
are texts, and the input contains what was cached. Both as recorded from the programs themselves.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from agenthub.domain.usage import Usage
from agenthub.wire.ingest.otlp import attributes, is_subscribed, records, time_ns
from agenthub.wire.ingest.report import Report, dollars, identity, text, tokens, whole


def read_logs(message: Any) -> Iterator[Report]:
    """The reports in an export of logs."""
    for shared, record in records(message, "Logs"):
        said = attributes(record)
        subscribed = is_subscribed(shared, said)
        at_ns = time_ns(record, "timeUnixNano", "observedTimeUnixNano")
        event = said.get("event.name")
        if event in {"api_request", "claude_code.api_request"}:
            yield _claude_code(said, at_ns, subscribed=subscribed)
        elif (
            event == "codex.sse_event"
            and said.get("event.kind") == "response.completed"
            and whole(said.get("output_token_count")) is not None
        ):
            yield _codex(said, at_ns, subscribed=subscribed)


def _claude_code(said: Mapping[str, Any], at_ns: int, *, subscribed: bool) -> Report:
    read = tokens(said, "cache_read_tokens")
    written = tokens(said, "cache_creation_tokens")
    usage = Usage(
        tokens(said, "input_tokens") + read + written,
        read,
        written,
        output_tokens=tokens(said, "output_tokens"),
    ).sound()
    micros = whole(said.get("cost_usd_micros"))
    cost = dollars(said.get("cost_usd")) if micros is None else dollars(f"{micros}e-6")
    session = text(said.get("session.id"))
    # A session that is resumed counts its events from the start again: the time is part of it.
    sequence = tokens(said, "event.sequence")
    return Report(
        identity("claude-code", session, sequence, at_ns, *_counts(usage)),
        "claude-code",
        session,
        "anthropic",
        text(said.get("model")).partition("[")[0],  # claude-opus-4-8[1m]
        usage,
        cost,
        at_ns // 1_000,
        tokens(said, "duration_ms") * 1_000,
        is_subscribed=subscribed,
    )


def _codex(said: Mapping[str, Any], at_ns: int, *, subscribed: bool) -> Report:
    usage = Usage(
        tokens(said, "input_token_count"),
        tokens(said, "cached_token_count"),
        tokens(said, "cache_write_token_count"),
        output_tokens=tokens(said, "output_token_count"),
        reasoning_tokens=tokens(said, "reasoning_token_count"),
    ).sound()
    session = text(said.get("conversation.id"))
    when = text(said.get("event.timestamp"))
    return Report(
        identity("codex", session, at_ns, when, *_counts(usage)),
        "codex",
        session,
        "openai",
        text(said.get("model")),
        usage,
        None,
        at_ns // 1_000,
        tokens(said, "duration_ms") * 1_000,
        is_subscribed=subscribed,
    )


def _counts(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
