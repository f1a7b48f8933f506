"""A server's record from what stands on the command line: the JSON that the REST door takes."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click


class Wanted(NamedTuple):
    """The options of `add`, as they were given."""

    name: str
    command: Sequence[str] = ()
    url: str | None = None
    transport: str | None = None
    env: Sequence[str] = ()
    headers: Sequence[str] = ()
    fallbacks: Sequence[str] = ()
    fallback_url: str | None = None
    rps: float | None = None
    burst: int | None = None
    no_limit: bool = False
    trust: bool = False
    pinning: str | None = None
    cwd: str | None = None
    concurrency: int | None = None
    timeout_s: float | None = None
    oauth: bool = False
    client_id: str | None = None
    client_secret: str | None = None
    issuer: str | None = None
    per_caller: bool = False
    llm: str | None = None
    wires: Sequence[str] = ()
    models: Sequence[str] = ()
    free: bool = False


def record(wanted: Wanted) -> dict[str, Any]:
    """The record; what was not said is left out. Raises click.UsageError."""
    made: dict[str, Any] = {"name": wanted.name, **_place(wanted)}
    if wanted.env:
        made["env"] = _pairs(map(_reference, wanted.env), "=", "--env", "NAME=VALUE or NAME")
    if wanted.headers:
        made["headers"] = _pairs(wanted.headers, ":", "--header", "'Name: value'")
    if wanted.cwd is not None:
        made["cwd"] = os.path.abspath(os.path.expanduser(wanted.cwd))  # noqa: PTH100, PTH111 - no symlink is followed
    made |= _fallbacks(wanted) | _limits(wanted) | _oauth(wanted)
    if wanted.trust:
        made["trust"] = True
    if wanted.pinning is not None:
        made["pinning"] = wanted.pinning
    return made


def _place(wanted: Wanted) -> dict[str, Any]:
    """Where it is, and what is spoken there."""
    made = _llm(wanted)
    if made and wanted.command:
        raise click.UsageError("--llm is of a provider of models, which has no command.")
    if not made and bool(wanted.command) == (wanted.url is not None):
        raise click.UsageError("Give either --url URL or a command after `--`.")
    if wanted.transport is not None and wanted.url is None:
        raise click.UsageError("--transport is of a server with --url.")
    if wanted.url is not None:
        made["url"] = wanted.url
    if wanted.transport is not None:
        made["transport"] = wanted.transport
    if wanted.command:
        made["command"] = [_program(wanted.command[0]), *wanted.command[1:]]
    return made


def _llm(wanted: Wanted) -> dict[str, Any]:
    """That it is a provider of language models, and how it is spoken to."""
    if wanted.llm is None and not wanted.wires:
        if wanted.models or wanted.free:
            raise click.UsageError("--model and --free are of a provider: give --llm or --wire.")
        return {}
    made: dict[str, Any] = {}
    if wanted.llm is not None:
        made["preset"] = wanted.llm
    if wanted.wires:
        made["wires"] = list(dict.fromkeys(wanted.wires))
    if wanted.models:
        made["models"] = list(dict.fromkeys(wanted.models))
    if wanted.free:
        made["is_free"] = True
    return {"llm": made}


def _oauth(wanted: Wanted) -> dict[str, Any]:
    names = ("client_id", "client_secret", "issuer")
    made = {name: value for name in names if (value := getattr(wanted, name)) is not None}
    if "client_secret" in made and not wanted.oauth:
        made["grant"] = "token_exchange" if wanted.per_caller else "client_credentials"
    elif wanted.per_caller:
        made["per"] = "caller"
    return {"oauth": made} if made or wanted.oauth else {}


def _limits(wanted: Wanted) -> dict[str, Any]:
    made: dict[str, Any] = {}
    limit = {"rps": wanted.rps, "burst": wanted.burst}
    given = {key: value for key, value in limit.items() if value is not None}
    if wanted.no_limit and given:
        raise click.UsageError("--no-limit leaves no room for --rps and --burst.")
    if wanted.no_limit:
        made["rate_limit"] = None
    elif given:
        made["rate_limit"] = given
    if wanted.concurrency is not None:
        made["concurrency"] = wanted.concurrency
    if wanted.timeout_s is not None:
        made["timeouts"] = {"call_ms": round(wanted.timeout_s * 1000)}
    return made


def _fallbacks(wanted: Wanted) -> dict[str, Any]:
    urls = [word for word in wanted.fallbacks if "://" in word]
    urls += [] if wanted.fallback_url is None else [wanted.fallback_url]
    names = [word for word in wanted.fallbacks if "://" not in word]
    if len(urls) > 1:
        raise click.UsageError("Only one fallback may be an address; add the others as servers.")
    made: dict[str, Any] = {}
    if urls:
        made["fallback_url"] = urls[0]
    if names:
        made["fallbacks"] = names
    return made


def _reference(word: str) -> str:
    """`NAME` alone is filled in from the hub's environment: its value is typed nowhere."""
    return word if "=" in word or not word.isidentifier() else f"{word}=${{{word}}}"


def _program(word: str) -> str:
    """A path is meant from here; the hub runs elsewhere."""
    if "/" not in word:
        return word
    return str(Path(word).expanduser().absolute())


def _pairs(words: Iterable[str], by: str, option: str, shape: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, found, value = word.partition(by)
        name = name.strip()
        if not found or not name:
            # What was given may be a secret, so it is not repeated.
            raise click.UsageError(f"{option}: expected {shape}.")
        if name in pairs:
            raise click.UsageError(f"{option}: {name} is given twice.")
        pairs[name] = value.strip() if by == ":" else value
    return pairs
