"""The hub, as the command line sees it: its REST door, on the running hub or on its database.

    command ──► HubAccess ──► Requests ──► RemoteHub   (a hub runs with this home: HTTP)
                                      └──► OfflineHub  (none runs: the same door, in this process)

One door for both, so a command does the same whether a hub runs or not.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

from agenthub.cli.ending import Failed
from agenthub.cli.requests import Answer, Json, Request, Requests

CALL_CAP_S = 300
"""No call takes longer (R40)."""
FOLLOW_TRIES = 5
"""Times that the events of a run are asked for, should the connection be lost."""
EVENT_BYTES = 16 * 1024 * 1024
REBUILD_S = 300
"""For a ledger of some ten million calls: a million take 4 s."""


class HubRefused(Failed):
    """The hub said no: the problem that it described (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.code = str(problem.get("code") or f"http_{status}")
        self.server = str(problem.get("server") or "")
        self.tool = str(problem.get("tool") or "")
        self.retry_after_ms: int | None = problem.get("retry_after_ms")
        self.detail = str(problem.get("detail") or problem.get("title") or "It gave no reason")
        super().__init__(self._line())

    def _line(self) -> str:
        facts = self.code
        if self.retry_after_ms:
            facts += f", again in {_seconds(self.retry_after_ms)}"
        return f"{self.detail.rstrip('.')} ({facts})."


class HubAccess:
    """The hub's operations. All raise HubRefused, or Failed when the hub does not answer."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    @property
    def url(self) -> str | None:
        return self._requests.url

    def endpoints(self) -> list[Json]:
        return self._get("/api/endpoints")["endpoints"]

    def endpoint(self, name: str) -> Json:
        return self._get(_path("/api/endpoints", name))

    def add_endpoint(self, record: Json) -> Json:
        """Raises HubRefused with the code `conflict` if the name is taken."""
        return self._ask(Request("POST", "/api/endpoints", record))

    def replace_endpoint(self, record: Json) -> Json:
        """Puts it in the place of the one with its name, or adds it."""
        try:
            return self._ask(Request("PUT", _path("/api/endpoints", record["name"]), record))
        except HubRefused as refused:
            if refused.code != "unknown_target":
                raise
        return self.add_endpoint(record)

    def delete_endpoint(self, name: str) -> None:
        self._ask(Request("DELETE", _path("/api/endpoints", name)))

    def begin_sign_in(self, name: str) -> str:
        """Where a person signs in."""
        return self._ask(Request("POST", _path("/api/endpoints", name, "login"), {}))["url"]

    def sign_in_state(self, name: str) -> Json:
        """`waits`, and a `problem` that is empty when it has a token."""
        return self._get(_path("/api/endpoints", name, "login"))

    def end_sign_in(self, name: str) -> Json:
        """Whether anybody `was_signed_in`, and the tokens are `revoked`."""
        return self._ask(Request("DELETE", _path("/api/endpoints", name, "login")))

    def test(self, names: Sequence[str], seconds: int) -> dict[str, Json]:
        """What connecting to each of them finds, all at once; at most so many seconds."""
        query = urlencode({"seconds": seconds})
        found = self._requests.send_all(
            [
                Request(
                    "POST", f"{_path('/api/endpoints', name, 'test')}?{query}", {}, seconds + 20
                )
                for name in names
            ]
        )
        return {name: _finding(answer) for name, answer in zip(names, found, strict=True)}

    def tools(self, endpoint: str | None = None) -> list[Json]:
        query = "" if endpoint is None else "?" + urlencode({"endpoint": endpoint})
        return self._get("/api/tools" + query)["tools"]

    def pending(self, endpoint: str | None = None) -> list[Json]:
        """Tools that wait for approval; a server's with those of its fallback."""
        query = "" if endpoint is None else "?" + urlencode({"endpoint": endpoint})
        return self._get("/api/tools/pending" + query)["pending"]

    def approve(self, endpoint: str, digests: Mapping[str, str]) -> None:
        wish = {"endpoint": endpoint, "tools": dict(digests)}
        self._ask(Request("POST", "/api/tools/approve", wish))

    def call(self, server: str, tool: str, arguments: Json) -> Json:
        body: Json = {"server": server, "tool": tool, "arguments": arguments}
        return self._ask(Request("POST", "/api/tools/call", body, CALL_CAP_S + 10))

    def start_chat(self, wish: Json) -> Json:
        return self._ask(Request("POST", "/api/chat", wish))

    def follow_chat(self, run: str) -> Iterator[Json]:
        """Its events, each once, until it is over; a connection that is lost is made anew."""
        after = 0
        for tries in range(FOLLOW_TRIES):
            try:
                for number, event in _events(self._requests, run, after):
                    after = number
                    yield event
                    if event["type"] == "done":
                        return
            except Failed:
                if tries + 1 == FOLLOW_TRIES:
                    raise
        raise Failed("The hub ended the run's events before its end.")

    def cancel_chat(self, run: str) -> None:
        self._ask(Request("POST", _path("/api/chat/runs", run, "cancel"), {}))

    def approve_tool(self, run: str, name: str, *, allow: bool) -> None:
        body: Json = {"id": name, "allow": allow}
        self._ask(Request("POST", _path("/api/chat/runs", run, "approve"), body))

    def answer_elicitation(self, run: str, said: Json) -> None:
        self._ask(Request("POST", _path("/api/chat/runs", run, "answer"), said))

    def check(self) -> Json:
        return self._get("/api/check")

    def breakers(self) -> list[Json]:
        return self._get("/api/gateway/circuit-breakers")["circuit_breakers"]

    def set_breaker(self, name: str, action: str, word: Json) -> Json:
        """`action`: open, close or reset."""
        return self._ask(Request("POST", _path("/api/gateway/circuit-breaker", name, action), word))

    def keys(self) -> list[Json]:
        return self._get("/api/keys")["keys"]

    def create_key(self, wanted: Json) -> Json:
        """With the secret as `key`, this once."""
        return self._ask(Request("POST", "/api/keys", wanted))

    def set_key_terms(self, key_id: str, terms: Json) -> Json:
        return self._ask(Request("PUT", _path("/api/keys", key_id, "terms"), terms))

    def views(self) -> list[Json]:
        return self._get("/api/views")["views"]

    def view(self, name: str) -> Json:
        return self._get(_path("/api/views", name))

    def add_view(self, view: Json) -> Json:
        return self._ask(Request("POST", "/api/views", view))

    def replace_view(self, view: Json) -> Json:
        return self._ask(Request("PUT", _path("/api/views", view["name"]), view))

    def delete_view(self, name: str) -> None:
        self._ask(Request("DELETE", _path("/api/views", name)))

    def usage(self, by: str | None, asked: Mapping[str, str | None]) -> Json:
        """The sums of a range, or what they are made of."""
        path = f"/api/usage/by-{by}" if by else "/api/usage/summary"
        without = {"group_by"} if by else set[str]()
        named = {key: value for key, value in asked.items() if value and key not in without}
        return self._get(f"{path}?{urlencode(named)}")

    def rebuild_usage(self) -> Json:
        return self._ask(Request("POST", "/api/usage/rebuild", {}, REBUILD_S))

    def budgets(self) -> list[Json]:
        return self._get("/api/usage/budgets")["budgets"]

    def alerts(self, limit: int) -> list[Json]:
        return self._get(f"/api/usage/alerts?limit={limit}")["alerts"]

    def budget(self, budget_id: str) -> Json:
        return self._get(_path("/api/usage/budgets", budget_id))

    def set_monthly_budget(self, amount: str) -> None:
        self._ask(Request("PUT", "/api/usage/budget", {"monthly_budget_usd": amount}))

    def add_budget(self, wanted: Json) -> Json:
        return self._ask(Request("POST", "/api/usage/budgets", wanted))

    def replace_budget(self, wanted: Json) -> Json:
        return self._ask(Request("PUT", _path("/api/usage/budgets", wanted["id"]), wanted))

    def suspend_budget(self, budget_id: str, seconds: int, reason: str) -> Json:
        path = _path("/api/usage/budgets", budget_id, "suspend")
        return self._ask(Request("POST", path, {"seconds": seconds, "reason": reason}))

    def credit_budget(self, budget_id: str, amount: str, reason: str) -> Json:
        path = _path("/api/usage/budgets", budget_id, "credit")
        return self._ask(Request("POST", path, {"amount_usd": amount, "reason": reason}))

    def delete_budget(self, budget_id: str) -> None:
        self._ask(Request("DELETE", _path("/api/usage/budgets", budget_id)))

    def rotate_key(self, key_id: str, grace_s: int) -> Json:
        """With the new secret as `key`, this once."""
        return self._ask(
            Request("POST", _path("/api/keys", key_id, "rotate"), {"grace_s": grace_s})
        )

    def revoke_key(self, key_id: str) -> None:
        self._ask(Request("DELETE", _path("/api/keys", key_id)))

    def _get(self, path: str) -> Any:
        return self._ask(Request("GET", path))

    def _ask(self, request: Request) -> Any:
        return _decoded(self._requests.send(request))


def new(add: Callable[[Json], Json], made: Json) -> Json:
    """What `add` gives. A name that is taken is told with what may be done about it."""
    try:
        return add(made)
    except HubRefused as refused:
        if refused.code != "conflict":
            raise
        raise Failed(f"{refused} --replace puts this one in its place.") from None


@contextmanager
def hub_at(home: Path, *, connect: Sequence[str] | None = ()) -> Generator[HubAccess]:
    """The hub that runs with this home, or its database when none runs.

    `connect`: which servers to start when none runs; None: all.
    """
    with _way_to(home, connect) as requests:
        hub = HubAccess(requests)
        try:
            yield hub
        except HubRefused as refused:
            raise Failed(f"{refused} {_hint(refused, hub, home)}") from None


def _hint(refused: HubRefused, hub: HubAccess, home: Path) -> str:
    """What to do about it; nothing if that cannot be found out."""
    from agenthub.cli.hint import hint  # noqa: PLC0415 - most commands end well

    try:
        return hint(refused.code, refused.server, refused.tool, hub, home)
    except Failed:
        return ""


@contextmanager
def _way_to(home: Path, connect: Sequence[str] | None) -> Generator[Requests]:
    from agenthub.cli.remote import find_hub  # noqa: PLC0415 - http.client takes 30 ms

    requests = find_hub(home)
    if requests is not None:
        yield requests
        return
    from agenthub.cli.offline import offline_hub  # noqa: PLC0415

    with offline_hub(home, connect) as requests:
        yield requests


def _path(*parts: str) -> str:
    head, *rest = parts
    return "/".join([head, *(quote(part, safe="") for part in rest)])


def _decoded(answer: Answer) -> Any:
    try:
        body = json.loads(answer.body) if answer.body else None
    except ValueError:
        body = None
    if 200 <= answer.status < 300:
        if body is None and answer.status != 204:
            raise Failed("The hub's answer is not JSON; is it a hub that answers there?")
        return body
    raise HubRefused(answer.status, cast("Json", body) if isinstance(body, dict) else {})


def _events(requests: Requests, run: str, after: int) -> Iterator[tuple[int, Json]]:
    from agenthub.wire.sse import SseParser  # noqa: PLC0415 - only for a chat

    parser = SseParser(EVENT_BYTES)
    path = _path("/api/chat/runs", run, "events")
    with closing(requests.follow(path, after)) as pieces:
        for piece in pieces:
            for event in parser.feed(piece):
                if event.kind != b"dropped":
                    yield int(parser.last_id or 0), json.loads(event.data)


def _finding(answer: Answer) -> Json:
    """A look that the hub refuses is a finding too: the others are not lost for it."""
    try:
        return _decoded(answer)
    except HubRefused as refused:
        return {"ok": False, "problem": str(refused)}


def _seconds(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
