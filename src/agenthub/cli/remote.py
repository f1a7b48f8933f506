"""The hub that runs with a home, reached over HTTP with the home's admin token.

`serve` leaves `hub.json` in its home: {"pid": …, "url": "http://…", "started_at": …}.
"""

import contextlib
import http.client
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agenthub.cli.access import Answer, Request, at_once
from agenthub.cli.ending import Failed

HUB_FILE = "hub.json"
TOKEN_FILE = "admin-token"  # noqa: S105 - the file's name
CONNECT_S = 2.0
BODY_MAX = 64 * 1024 * 1024


class RemoteHub:
    """`access.Requests` over HTTP; a connection for each request."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80

    @property
    def url(self) -> str | None:
        return self._url

    def send(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_S)
        body = None if request.body is None else json.dumps(request.body).encode()
        headers = {"authorization": f"Bearer {self._token}", "connection": "close"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            connection.connect()
            connection.sock.settimeout(request.patience_s)
            connection.request(request.method, request.path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.read(BODY_MAX))
            if response.length:
                raise http.client.IncompleteRead(answer.body, response.length)
        except TimeoutError:
            raise Failed(
                f"The hub at {self._url} did not answer within {request.patience_s:g} s."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"The hub at {self._url} broke off: {error or 'no reason'}.") from None
        finally:
            connection.close()
        return answer

    def send_all(self, requests: Sequence[Request]) -> list[Answer]:
        return at_once(self.send, requests)


def find_hub(home: Path) -> RemoteHub | None:
    """The hub that runs with this home; None if none does.

    Raises:
        Failed: One runs, but its files cannot be read or trusted.
    """
    facts = _facts(home / HUB_FILE)
    if facts is None or not _alive(facts["pid"]):
        return None
    url: str = facts["url"].rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise Failed(f"{home / HUB_FILE} names no http address; start the hub anew.")
    if not _listens(parts.hostname, parts.port or 80):
        return None
    try:
        token = _private(home / TOKEN_FILE).strip()
    except OSError as error:
        raise Failed(f"{home / TOKEN_FILE} cannot be read: {error.strerror}.") from None
    return RemoteHub(url, token)


def _facts(file: Path) -> dict[str, Any] | None:
    """What `serve` left; None if there is nothing, or only a piece of it."""
    try:
        facts: Any = json.loads(_private(file))
    except FileNotFoundError:
        return None
    except ValueError:
        return None
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}.") from None
    try:
        pid, url = facts["pid"], facts["url"]
    except (TypeError, KeyError):
        return None
    whole = type(pid) is int and pid > 0 and isinstance(url, str)
    return {"pid": pid, "url": url} if whole else None


def _private(file: Path) -> str:
    """A file that decides where the admin token goes, so nobody else may have written it."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor) as opened:
        status = os.fstat(descriptor)
        if status.st_mode & 0o022 or status.st_uid not in {0, os.geteuid()}:
            raise Failed(f"{file} may have been written by others; look at it and remove it.")
        return opened.read(64 * 1024)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _listens(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError:
            return False
        return True
