"""A record as it may be shown: whatever may be a secret is `••••`, references stay (A48).

Hidden are the values of `env`, `headers` and a URL's query, long random-looking parts of a URL's
path, what follows an option that is called like a secret, and words that look like a key.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from msgspec import structs

from agenthub.domain.endpoint import Endpoint

HIDDEN: Final = "••••"

_PURE = re.compile(r"(?:(?:Bearer|Basic|Token|token) )?(?:\$\{(?:file:|env:)?[^{}:]+\})+")
"""Nothing but references, so nothing to hide. One with a default may have a secret in it."""
_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|pwd|auth|bearer|credential|cookie|pat$|dsn")
_PAIR_OPTIONS = frozenset({"-e", "--env", "-H", "--header", "--headers"})
"""Options of npx, docker and their like whose value is `NAME=VALUE` or `Name: value`."""
_PAIR = re.compile(r"([^=:]+(?:=|:\s*))(.*)", re.DOTALL)
_ADDRESS = re.compile(r"([^=:/]*=)?([^=:/]*://.*)", re.DOTALL)
_KEY = re.compile(
    r"(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|npm|hf|xox[abprs]|AKIA|AIza|eyJ|github_pat)[-_A-Za-z0-9.]{12,}"
)
"""Keys of known providers, by how they begin."""
_RANDOM = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9_~.-]{20,}")
"""A part of a path that nobody would type."""


def redact(endpoint: Endpoint) -> Endpoint:
    """The same record without its secrets."""
    return structs.replace(
        endpoint,
        url=None if endpoint.url is None else redact_url(endpoint.url),
        fallback_url=None if endpoint.fallback_url is None else redact_url(endpoint.fallback_url),
        command=redact_command(endpoint.command),
        env={key: _redact_value(value) for key, value in endpoint.env.items()},
        headers={key: _redact_value(value) for key, value in endpoint.headers.items()},
    )


def redact_command(command: Sequence[str]) -> tuple[str, ...]:
    """Its words, one for one."""
    shown: list[str] = []
    option = ""
    for word in command:
        shown.append(_redact_word(word, option))
        option = word if word.startswith("-") and "=" not in word else ""
    return tuple(shown)


def secrets_of(endpoint: Endpoint) -> tuple[str, ...]:
    """What `redact` hides of a process's record: to be blotted out wherever it may be said again.

    The record's references are filled in, so each value of `env` is one.
    """
    found = list(endpoint.env.values())
    for word, shown in zip(endpoint.command, redact_command(endpoint.command), strict=True):
        if word != shown:
            parts = "(.+?)".join(map(re.escape, shown.split(HIDDEN)))
            match = re.fullmatch(parts, word, re.DOTALL)
            found += match.groups() if match else [word]
    return tuple(found)


def _redact_word(word: str, option: str) -> str:
    """`option`: the option that this word may be the value of; empty if there is none."""
    if option in _PAIR_OPTIONS and (pair := _PAIR.fullmatch(word)):
        return pair[1] + _redact_value(pair[2])
    name, equals, value = word.partition("=")
    if equals and _SECRET_NAME.search(name):
        return f"{name}={_redact_value(value)}"
    if option and not word.startswith("-") and _SECRET_NAME.search(option):
        return _redact_value(word)
    if address := _ADDRESS.fullmatch(word):
        return (address[1] or "") + redact_url(address[2])
    return HIDDEN if _KEY.search(word) else word


def _redact_value(value: str) -> str:
    return value if not value or _PURE.fullmatch(value) else HIDDEN


def redact_url(url: str) -> str:
    """The address, without what may be a secret in its user part, path or query."""
    if _PURE.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    _, at, place = parts.netloc.rpartition("@")
    path = "/".join(
        HIDDEN if _KEY.search(part) or _RANDOM.fullmatch(part) else part
        for part in parts.path.split("/")
    )
    query = "&".join(
        f"{name}={_redact_value(value)}" if equals else _redact_value(name)
        for name, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    netloc = f"{HIDDEN}@{place}" if at else place
    return urlunsplit(parts._replace(netloc=netloc, path=path, query=query, fragment=""))
