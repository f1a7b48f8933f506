"""A client's request to a model: what the hub must know of it, and what is sent on.

Known are the model, whether it streams, how much it may write, and what makes it dear. All else
goes on byte for byte, except what would lead the request to another address (rule A57).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from agenthub.domain.errors import InvalidParams
from agenthub.wire import strict_json
from agenthub.wire.llm.dialect import Dialect
from agenthub.wire.llm.member import places, with_values
from agenthub.wire.llm.picture import Pictures, pictures_of

MODEL_CHARACTERS_MAX: Final = 256
OUTPUT_TOKENS_MAX: Final = 10_000_000
"""Of one request. The longest outputs of 2026 are 128,000 tokens."""
CHOICES_MAX: Final = 128
"""Source: OpenAI API reference, `n`."""

_MODEL = re.compile(r"[A-Za-z0-9@._~][A-Za-z0-9@._~:/+,=()\[\]-]*", re.ASCII)
STEERING: Final = frozenset({
    "api_base", "api_key", "api_type", "api_version", "azure_endpoint", "base_url",
    "custom_llm_provider", "extra_body", "extra_headers", "extra_query", "headers", "proxy",
})  # fmt: skip
"""Which some SDKs and proxies take for the provider's address, its key or its headers."""
_LIMITS: Final[Mapping[Dialect, tuple[str, ...]]] = {
    Dialect.CHAT: ("max_completion_tokens", "max_tokens"),
    Dialect.RESPONSES: ("max_output_tokens",),
    Dialect.MESSAGES: ("max_tokens",),
    Dialect.EMBEDDINGS: (),
    Dialect.GEMINI: (),
}
_CONFIG_LIMITS: Final = ("maxOutputTokens", "max_output_tokens")
"""Of Gemini, below `generationConfig`."""


class LlmRequest(Struct, frozen=True):
    """What is known of a request."""

    dialect: Dialect
    body: bytes
    """As it came."""
    model: str
    stream: bool = False
    max_output: int | None = None
    """Tokens of one choice, as asked; None: as much as the model can."""
    n: int = 1
    """Choices."""
    service: str = ""
    """The tier of service that it asks for."""
    tells_usage: bool = False
    """Of a chat stream: whether the client itself asked for the usage at the end."""
    pictures: Pictures = Pictures()

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.body)


def read_request(
    dialect: Dialect, body: bytes, model: str = "", *, stream: bool = False
) -> LlmRequest:
    """What it asks for. `model` and `stream` are told by Gemini's path, by the body elsewhere.

    Raises:
        BadJson: The body is not strict JSON.
        InvalidParams: What the hub reads of it is not what was expected, or it would steer.
    """
    value = strict_json.parse(body)
    if type(value) is not dict:
        raise InvalidParams("The body: expected a JSON object")
    fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
    steering = STEERING & fields.keys()
    if steering:
        raise InvalidParams(
            f"{min(steering)}: not taken here; the provider's address is set in the hub's settings"
        )
    if dialect is Dialect.GEMINI:
        if {"generationConfig", "generation_config"} <= fields.keys():
            raise InvalidParams("generationConfig, generation_config: expected one of them")
        config = _object(fields, "generationConfig") or _object(fields, "generation_config")
        limit = _limit(config, *_CONFIG_LIMITS)
        n = _most(config, 1, CHOICES_MAX, "candidateCount", "candidate_count")
        pictures = pictures_of(dialect, fields)
        return LlmRequest(dialect, body, _model(model), stream, limit, n or 1, pictures=pictures)
    if dialect is Dialect.RESPONSES and _flag(fields, "background"):
        raise InvalidParams("background: not taken, since the hub would not see what it costs")
    n = _number(fields, "n", 1, CHOICES_MAX) if dialect is Dialect.CHAT else None
    options = _object(fields, "stream_options") if dialect is Dialect.CHAT else {}
    return LlmRequest(
        dialect,
        body,
        _model(fields.get("model")),
        _flag(fields, "stream"),
        _limit(fields, *_LIMITS[dialect]),
        n or 1,
        _service(fields),
        _flag(options, "include_usage", of="stream_options."),
        pictures_of(dialect, fields),
    )


def with_limit(request: LlmRequest, most: int, provider: str) -> LlmRequest:
    """The request for at most so many tokens of output; as it is, if it asks for no more.

    Where it names no bound, one is added under the name that the provider knows. A limit on what is
    embedded there is not.
    """
    body, dialect = request.body, request.dialect
    is_short = request.max_output is not None and request.max_output <= most
    if is_short or dialect is Dialect.EMBEDDINGS:
        return request
    value = b"%d" % most
    if dialect is Dialect.GEMINI:
        name, config = _config(body)
        known = places(config)
        inner = [one for one in _CONFIG_LIMITS if one in known] or _CONFIG_LIMITS[:1]
        changed = with_values(body, {name: with_values(config, dict.fromkeys(inner, value))})
    else:
        names = [name for name in _LIMITS[dialect] if name in places(body)]
        if not names:
            # OpenAI's own models refuse the old name, and others know no other.
            new = dialect is not Dialect.CHAT or provider == "openai"
            names = [_LIMITS[dialect][0 if new else 1]]
        changed = with_values(body, dict.fromkeys(names, value))
    return structs.replace(request, body=changed, max_output=most)


def _config(body: bytes) -> tuple[str, bytes]:
    """Gemini's settings of an answer: under which name they stand, and their text."""
    where = places(body)
    for name in ("generationConfig", "generation_config"):
        if name in where and body[where[name]].startswith(b"{"):
            return name, body[where[name]]
    return "generationConfig", b"{}"


def send_as(request: LlmRequest, model: str, *, include_usage: bool) -> bytes:
    """The body for a provider that calls the model so. All other bytes are those of the client.

    `include_usage`: a chat stream is asked for its usage, where the provider takes that.
    """
    if request.dialect is Dialect.GEMINI:
        return request.body
    values: dict[str, bytes] = {}
    if model != request.model:
        values["model"] = msgspec.json.encode(model)
    asks = include_usage and request.stream and not request.tells_usage
    if asks and request.dialect is Dialect.CHAT:
        values["stream_options"] = _with_usage(request.body)
    return with_values(request.body, values) if values else request.body


def _with_usage(body: bytes) -> bytes:
    """The stream's options with the usage asked for."""
    place = places(body).get("stream_options")
    options = body[place] if place else b"null"
    return with_values(b"{}" if options == b"null" else options, {"include_usage": b"true"})


# ---------------------------------------------------------------- fields


def _model(name: Any) -> str:
    if type(name) is not str or not name:
        raise InvalidParams("model: expected the name of a model")
    plain = len(name) <= MODEL_CHARACTERS_MAX and _MODEL.fullmatch(name)
    if not plain or "//" in name or {".", ".."}.intersection(name.split("/")):
        raise InvalidParams(
            f"model: expected at most {MODEL_CHARACTERS_MAX} letters, digits and -._:/@+,=()[]~,"
            f" not {name[:64]!r}"
        )
    return name


def _limit(fields: Mapping[str, Any], *names: str) -> int | None:
    return _most(fields, 0, OUTPUT_TOKENS_MAX, *names)


def _most(fields: Mapping[str, Any], least: int, most: int, *names: str) -> int | None:
    """The greatest under these names, for who knows which of them a provider takes."""
    given = (_number(fields, name, least, most) for name in names)
    return max((one for one in given if one is not None), default=None)


def _number(fields: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise InvalidParams(f"{name}: expected a whole number from {least} to {most}")
    return value


def _flag(fields: Mapping[str, Any], name: str, of: str = "") -> bool:
    value = fields.get(name)
    if value is None or type(value) is bool:
        return bool(value)
    raise InvalidParams(f"{of}{name}: expected true or false")


def _object(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidParams(f"{name}: expected an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def _service(fields: Mapping[str, Any]) -> str:
    """Anthropic's `speed`, or the tier of service. What is no text is the provider's to refuse."""
    for name in ("speed", "service_tier"):
        value = fields.get(name)
        if type(value) is str and value != "standard":
            return value[:32]
    return ""
