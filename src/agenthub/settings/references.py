"""References in an endpoint's record: `${NAME}`, `${NAME:-default}` and `${file:/path}`.

The record keeps the reference; the secret itself is filled in each time the server is connected
and is kept nowhere. What a reference brings is never searched for references again (A28).
`$${` stands for `${`. Filled in are `url`, `fallback_url`, and the values of `env` and `headers`;
a command's words are passed to the program as they are.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import structs

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.endpoint_check import check_header_value, check_url
from agenthub.domain.errors import BadSetting
from agenthub.settings.regular_file import read_regular

SECRET_MAX: Final = 64 * 1024

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def resolve(endpoint: Endpoint, environ: Mapping[str, str]) -> Endpoint:
    """The record with every reference filled in: for connecting, not for keeping or showing.

    Raises:
        BadSetting: Names the key and the variable or file that is missing or does not fit there.
    """
    changes: dict[str, object] = {}
    for key in ("url", "fallback_url"):
        address: str | None = getattr(endpoint, key)
        if address is not None and "$" in address:
            changes[key] = fill(key, address, environ)
            check_url(key, str(changes[key]).replace("${", "%24%7B"))
    if any("$" in value for value in endpoint.env.values()):
        env = {k: fill(f"env.{k}", v, environ) for k, v in endpoint.env.items()}
        for name, value in env.items():
            if "\0" in value:
                raise BadSetting(f"env.{name}: expected a value without NUL")
        changes["env"] = env
    if any("$" in value for value in endpoint.headers.values()):
        headers = {k: fill(f"headers.{k}", v, environ) for k, v in endpoint.headers.items()}
        for name, value in headers.items():
            check_header_value(f"headers.{name}", value)
        changes["headers"] = headers
    if endpoint.oauth is not None and endpoint.oauth.client_secret:
        secret = fill("oauth.client_secret", endpoint.oauth.client_secret, environ)
        changes["oauth"] = structs.replace(endpoint.oauth, client_secret=secret)
    return structs.replace(endpoint, **changes) if changes else endpoint


def fill(key: str, text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference filled in. Raises BadSetting."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise BadSetting(f"{key}: a reference begins with ${{ and does not end with }}")
        return _value(key, match[1], environ)

    return _REFERENCE.sub(one, text)


def _value(key: str, name: str, environ: Mapping[str, str]) -> str:
    if name.startswith("file:"):
        return _secret(key, Path(name.removeprefix("file:")))
    variable = _VARIABLE.fullmatch(name.removeprefix("env:"))
    if variable is None:
        raise BadSetting(f"{key}: expected ${{NAME}} or ${{file:/path}}, got ${{{name[:64]}}}")
    value = environ.get(variable[1])
    if variable[2] is not None:
        return value or variable[2]
    if value is None:
        raise BadSetting(f"{key}: the environment variable {variable[1]} is not set for the hub")
    return value


def _secret(key: str, file: Path) -> str:
    """A file's text without the line's end; a pipe or a device cannot hold the hub up."""
    file = file.expanduser()
    if not file.is_absolute():
        raise BadSetting(f"{key}: expected an absolute path, got {str(file)[:200]!r}")
    try:
        data, _ = read_regular(file, SECRET_MAX, follow=True)
        text = data.decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadSetting(f"{key}: {file} cannot be read: {why}") from None
    if len(data) > SECRET_MAX:
        raise BadSetting(f"{key}: {file} has more than {SECRET_MAX} bytes")
    return text.removesuffix("\n").removesuffix("\r")
