"""Puts back what was masked, when a record that the hub has shown returns to it."""

from msgspec import structs

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import BadSetting
from agenthub.settings.redaction import HIDDEN, redact


def unmask(new: Endpoint, old: Endpoint | None) -> Endpoint:
    """The record as it is meant: what came back masked stays what it was.

    Raises:
        BadSetting: A masked value that stands for nothing.
    """
    if old is not None:
        shown = redact(old)
        kept = {
            key: getattr(old, key)
            for key in ("url", "fallback_url", "command")
            if getattr(new, key) == getattr(shown, key)
        }
        new = structs.replace(
            new,
            env=_put_back(new.env, old.env),
            headers=_put_back(new.headers, old.headers),
            **kept,
        )
    _refuse_masks(new)
    return new


def _put_back(new: dict[str, str], old: dict[str, str]) -> dict[str, str]:
    return {name: old.get(name, value) if value == HIDDEN else value for name, value in new.items()}


def _refuse_masks(endpoint: Endpoint) -> None:
    texts = {
        "url": endpoint.url or "",
        "fallback_url": endpoint.fallback_url or "",
        "command": " ".join(endpoint.command),
        **{f"env.{name}": value for name, value in endpoint.env.items()},
        **{f"headers.{name}": value for name, value in endpoint.headers.items()},
    }
    for key, text in texts.items():
        if HIDDEN in text:
            raise BadSetting(f"{key}: expected the value itself, not {HIDDEN}")
