"""LLM providers as data: how each is spoken to, and what it is filled in with.

A provider is an endpoint with `llm`. A *wire* is a request format; the hub passes bytes as they
are and never translates between wires, so a model answers on the wires of its provider only.

    wire          clients ask                              below the provider's address
    ────────────────────────────────────────────────────────────────────────────────────────
    chat          /v1/chat/completions                     /chat/completions
    responses     /v1/responses                            /responses
    messages      /v1/messages, …/count_tokens             /messages, /messages/count_tokens
    embeddings    /v1/embeddings                           /embeddings
    gemini        /v1beta/models/M:generateContent         /models/M:generateContent
"""

import fnmatch
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, structs

from agenthub.domain.errors import BadSetting

CHAT, RESPONSES, MESSAGES, EMBEDDINGS, GEMINI = (
    "chat", "responses", "messages", "embeddings", "gemini",
)  # fmt: skip
WIRES: Final = (CHAT, RESPONSES, MESSAGES, EMBEDDINGS, GEMINI)
DEMO: Final = "demo"
"""The model that ships with the hub; it has no address."""
DEMO_TOKENS: Final = 200
"""It writes no more, so that a budget of a cent bears some calls."""
GLOBS_MAX: Final = 1_000
OUTPUT_MAX: Final = 10_000_000
IDLE_MS: Final = 300_000
CALL_MS: Final = 600_000
"""A model may think for minutes without a byte. Source: the time-out of OpenAI's own SDK."""


class Llm(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """That an endpoint is an LLM provider, and how it is spoken to."""

    preset: str = ""
    """A provider that the hub knows: what is left out here, and the address, are filled in."""
    provider: str = ""
    """The name under which prices are looked up; empty: the preset's, or the endpoint's name."""
    wires: tuple[str, ...] = ()
    """What it speaks: of `chat`, `responses`, `messages`, `embeddings`, `gemini`."""
    models: tuple[str, ...] = ()
    """Names, or patterns with `*`, of models that are asked here when a client names a model
    without its provider."""
    paths: dict[str, str] = {}
    """Where a wire is not where it usually is: below the address, such as `openai/v1/responses`."""
    output_max: int | None = None
    """Tokens of output that its models write at most; null: nobody knows. What a call may cost is
    held for no more than that."""
    counts_streams: bool = True
    """Whether `stream_options.include_usage` may be asked of its chat streams."""
    is_free: bool = False
    """Whether it costs nothing, as a model on one's own machine: no budget blocks it."""
    trusts_cost: bool = False
    """Whether the cost that it reports itself is booked (OpenRouter), instead of a price."""

    def serves(self, wire: str, model: str) -> bool:
        """Whether a bare name of a model is meant for it."""
        return wire in self.wires and any(fnmatch.fnmatchcase(model, glob) for glob in self.models)


class Preset(Struct, frozen=True):
    url: str | None
    headers: Mapping[str, str]
    llm: Llm


def _bearer(variable: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer ${{{variable}}}"}


def _compatible(
    url: str,
    variable: str,
    models: tuple[str, ...],
    provider: str,
    wires: tuple[str, ...] = (CHAT,),
) -> Preset:
    headers: Mapping[str, str] = _bearer(variable) if variable else {}
    # What asks for no key runs on one's own machine.
    llm = Llm(provider=provider, wires=wires, models=models, is_free=not variable)
    return Preset(url, headers, llm)


PRESETS: Final[Mapping[str, Preset]] = {
    "openai": _compatible(
        "https://api.openai.com/v1", "OPENAI_API_KEY",
        ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "codex-*", "text-embedding-*", "ft:*"),
        "openai", (CHAT, RESPONSES, EMBEDDINGS),
    ),
    "anthropic": Preset(
        "https://api.anthropic.com/v1", {"x-api-key": "${ANTHROPIC_API_KEY}"},
        Llm(provider="anthropic", wires=(MESSAGES,), models=("claude-*",)),
    ),
    "gemini": Preset(
        "https://generativelanguage.googleapis.com/v1beta", {"x-goog-api-key": "${GEMINI_API_KEY}"},
        Llm(
            provider="google", wires=(GEMINI, CHAT, EMBEDDINGS), models=("gemini-*",),
            paths={CHAT: "openai/chat/completions", EMBEDDINGS: "openai/embeddings"},
        ),
    ),
    "openrouter": Preset(
        "https://openrouter.ai/api/v1", _bearer("OPENROUTER_API_KEY"),
        Llm(
            provider="openrouter", wires=(CHAT, RESPONSES, EMBEDDINGS), counts_streams=False,
            trusts_cost=True,
        ),
    ),
    "groq": _compatible("https://api.groq.com/openai/v1", "GROQ_API_KEY", (), "groq"),
    "mistral": _compatible(
        "https://api.mistral.ai/v1", "MISTRAL_API_KEY",
        ("mistral-*", "ministral-*", "codestral-*", "magistral-*", "devstral-*", "pixtral-*"),
        "mistral", (CHAT, EMBEDDINGS),
    ),
    "deepseek": _compatible(
        "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", ("deepseek-*",), "deepseek"
    ),
    "xai": _compatible(
        "https://api.x.ai/v1", "XAI_API_KEY", ("grok-*",), "x-ai", (CHAT, RESPONSES)
    ),
    "ollama": _compatible("http://127.0.0.1:11434/v1", "", (), "ollama", (CHAT, EMBEDDINGS)),
    "vllm": _compatible(
        "http://127.0.0.1:8000/v1", "", (), "vllm", (CHAT, RESPONSES, EMBEDDINGS)
    ),
    "llama.cpp": _compatible(
        "http://127.0.0.1:8080/v1", "", (), "llama.cpp", (CHAT, RESPONSES, MESSAGES, EMBEDDINGS)
    ),
    DEMO: Preset(
        None, {},
        Llm(
            provider=DEMO, wires=(CHAT, RESPONSES, MESSAGES, EMBEDDINGS), models=("demo-*",),
            output_max=DEMO_TOKENS,
        ),
    ),
}  # fmt: skip
"""Providers that are known by name. Any other one that speaks a wire is an address and `wires`."""


def path_of(llm: Llm, wire: str, default: str) -> str:
    """Where this wire is, below the provider's address; begins with `/`."""
    return "/" + llm.paths.get(wire, default).lstrip("/")


def filled(llm: Llm) -> Llm:
    """With what its preset says, if it has one. Raises BadSetting."""
    if not llm.preset:
        return llm
    preset = PRESETS.get(llm.preset)
    if preset is None:
        raise BadSetting(
            f"llm.preset: expected one of {', '.join(PRESETS)}; got {llm.preset[:64]!r}"
        )
    known = preset.llm
    return structs.replace(
        llm,
        provider=llm.provider or known.provider,
        wires=llm.wires or known.wires,
        models=llm.models or known.models,
        paths={**known.paths, **llm.paths},
        output_max=llm.output_max or known.output_max,
        counts_streams=llm.counts_streams and known.counts_streams,
        is_free=llm.is_free or known.is_free,
        trusts_cost=llm.trusts_cost or known.trusts_cost,
    )


def check_llm(llm: Llm) -> None:
    """Raises BadSetting."""
    if not llm.wires:
        raise BadSetting(f"llm.wires: expected what it speaks, of {', '.join(WIRES)}; or a preset")
    for wire in (*llm.wires, *llm.paths):
        if wire not in WIRES:
            raise BadSetting(f"llm.wires: expected {', '.join(WIRES)}; got {wire[:64]!r}")
    for path in llm.paths.values():
        if not path.isascii() or not path.isprintable() or set(path) & set(" ?#\\") or ".." in path:
            raise BadSetting(f"llm.paths: expected a path below the address, got {path[:64]!r}")
    if llm.output_max is not None and not 1 <= llm.output_max <= OUTPUT_MAX:
        raise BadSetting(f"llm.output_max: expected a number from 1 to {OUTPUT_MAX}")
    if len(llm.models) > GLOBS_MAX:
        raise BadSetting(f"llm.models: expected at most {GLOBS_MAX} names, got {len(llm.models)}")
    for name in (*llm.models, llm.provider):
        if len(name) > 256 or not name.isprintable():
            raise BadSetting(f"llm.models: expected names of models, got {name[:64]!r}")
