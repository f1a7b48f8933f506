"""A client's side: single requests, and the raw requests that the load generator repeats."""

import http.client
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from process import LOAD_CORE, pinned
from tool import tool

MODERN, LEGACY = "2026-07-28", "2025-11-25"
WHO = {"name": "bench", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": WHO,
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "echo": {"text": "hello-bench"},
    "blob": {},
    "sleep": {"ms": 20},
}
EXPECTED = {"echo": "hello-bench", "blob": "wxyz", "sleep": "slept"}
LOAD_TIMEOUT_S = 600


class Refused(Exception):
    """An answer that is not a result."""


@dataclass
class Caller:
    """One address, in one era."""

    port: int
    path: str = "/mcp"
    era: str = "modern"
    headers: dict[str, str] = field(default_factory=dict)

    def rpc(
        self, method: str, params: dict[str, Any], session: str | None = None
    ) -> tuple[Any, str]:
        """The result, and the session that came with it. Raises Refused or OSError."""
        if self.era == "modern":
            params = {**params, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = self.headers_of(method, params.get("name"), session)
            connection.request("POST", self.path, json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        found = _message(raw, answer.getheader("content-type") or "")
        if answer.status != http.client.OK or "result" not in found:
            raise Refused(f"{method}: HTTP {answer.status} {raw[:300]!r}")
        return found["result"], answer.getheader("mcp-session-id") or ""

    def session(self) -> str | None:
        """A new session's id; None in the modern era, which has none."""
        if self.era == "modern":
            return None
        opening = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": WHO}
        return self.rpc("initialize", opening)[1]

    def tool_names(self) -> dict[str, str]:
        """The tools by their short names; a gateway may put something before them."""
        listed = self.rpc("tools/list", {}, self.session())[0]["tools"]
        names = {
            one: tool["name"] for one in ARGUMENTS for tool in listed if tool["name"].endswith(one)
        }
        if "echo" not in names:
            raise Refused(f"no echo among {len(listed)} tools")
        return names

    def expected(self, kind: str) -> str:
        """What a good answer holds; that and the request's own id are looked for in every one."""
        return EXPECTED[kind]

    def call(self, kind: str) -> Any:
        params = {"name": self.tool_names()[kind], "arguments": ARGUMENTS[kind]}
        return self.rpc("tools/call", params, self.session())[0]

    def request(self, kind: str, name: str, session: str | None) -> bytes:
        """A whole request; eight '@' stand where the load generator writes the id."""
        params: dict[str, Any] = {"name": name, "arguments": ARGUMENTS[kind]}
        if self.era == "modern":
            params["_meta"] = META
        body = json.dumps(
            {"jsonrpc": "2.0", "id": "@ID@", "method": "tools/call", "params": params},
            separators=(",", ":"),
        ).replace('"@ID@"', "@@@@@@@@")
        headers = {"Host": f"127.0.0.1:{self.port}", "User-Agent": "bench"}
        headers |= self.headers_of("tools/call", name, session)
        headers["Content-Length"] = str(len(body))
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n{body}".encode()

    def headers_of(
        self, method: str, name: str | None = None, session: str | None = None
    ) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **self.headers,
        }
        if self.era == "modern":
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if name:
                headers["Mcp-Name"] = name
        elif method != "initialize":
            headers |= {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": session or ""}
        return headers


def _message(raw: bytes, content_type: str) -> dict[str, Any]:
    """The answer in a body, which may be a stream of events."""
    bodies = [raw]
    if content_type.startswith("text/event-stream"):
        bodies = [line[5:] for line in raw.splitlines() if line.startswith(b"data:")]
    for body in bodies:
        try:
            found = json.loads(body)
        except ValueError:
            continue
        if isinstance(found, dict) and ("result" in found or "error" in found):
            return found
    return {}


class Load:
    """The load generator with its request files; one session for each connection, if any."""

    def __init__(self, caller: Caller, kind: str, connections: int) -> None:
        self._caller, self._kind, self._connections = caller, kind, connections
        self._folder = tempfile.TemporaryDirectory(prefix="agenthub-bench-")
        name, self._files = caller.tool_names()[kind], []
        for at in range(connections if caller.era == "legacy" else 1):
            file = Path(self._folder.name) / str(at)
            file.write_bytes(caller.request(kind, name, caller.session()))
            self._files.append(str(file))

    def command(self, calls: int, rate: float = 0) -> list[str]:
        numbers = (self._caller.port, self._connections, calls, rate)
        program = [
            tool("load"),
            *map(str, numbers),
            self._caller.expected(self._kind),
            *self._files,
        ]
        return pinned(LOAD_CORE, program)

    def run(self, calls: int, rate: float = 0) -> dict[str, Any]:
        """What the generator saw. `rate` 0: each connection sends when it was answered."""
        done = subprocess.run(
            self.command(calls, rate),
            capture_output=True,
            text=True,
            timeout=LOAD_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise OSError(done.stderr)
        seen = json.loads(done.stdout)
        if seen["errors"]:
            seen["first_bad_answer"] = done.stderr[:400]
        return seen
