"""The hub that runs with a home, reached over HTTP with the home's admin token."""

import http
import http.client
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from agenthub.app import hub_file
from agenthub.app.private_file import read_private
from agenthub.cli.ending import Failed
from agenthub.cli.requests import Answer, Request, at_once

TOKEN_FILE = "admin-token"  # noqa: S105 - the file's name
CONNECT_S = 2.0
SILENT_S = 60.0
"""A stream of events says every 15 s that it is there."""
PIECE = 64 * 1024
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

    def follow(self, path: str, after: int) -> Generator[bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_S)
        headers = {"authorization": f"Bearer {self._token}", "connection": "close"}
        if after:
            headers["last-event-id"] = str(after)
        try:
            connection.connect()
            connection.sock.settimeout(SILENT_S)
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise Failed(f"The hub at {self._url} answered {response.status}.")
            while piece := response.read1(PIECE):
                yield piece
        except TimeoutError:
            raise Failed(f"The hub at {self._url} was silent for {SILENT_S:g} s.") from None
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"The hub at {self._url} broke off: {error or 'no reason'}.") from None
        finally:
            connection.close()

    def send_all(self, requests: Sequence[Request]) -> list[Answer]:
        return at_once(self.send, requests)


def find_hub(home: Path) -> RemoteHub | None:
    """The hub that runs with this home; None if none does.

    Raises:
        Failed: One runs, but the token to talk to it is gone.
        StorageFailed: Its files cannot be read or trusted.
    """
    running = hub_file.find(home)
    if running is None:
        return None
    token = read_private(home / TOKEN_FILE)
    if token is None:
        raise Failed(f"{home / TOKEN_FILE} is gone; start the hub anew, and it makes another.")
    return RemoteHub(running.url.rstrip("/"), token.strip())
