"""An MCP server on stdin and stdout in one file: tools only, both eras, standard library only.

The demo servers and the tests of the hub stand on it. It starts in a few hundredths of a second,
so it imports little. Answers may come in another order than the requests: slow tools run aside.
"""

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
NUMBER = (int, float)
TYPES = {"number": NUMBER, "integer": (int,), "string": (str,), "boolean": (bool,)}

Json = dict[str, Any]


class ToolFailed(Exception):
    """The tool ran and has bad news, which the model should read."""


class Refused(Exception):
    """The request is wrong: becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Json | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({"data": data} if data else {})


class Tool:
    """A function with its definition; `aside`: it may take long, so others go on meanwhile."""

    def __init__(
        self, run: Callable[..., object], definition: Json, *, aside: bool = False
    ) -> None:
        self.run = run
        self.definition = definition
        self.aside = aside

    def call(self, arguments: Json) -> Json:
        try:
            self._check(arguments)
            value = self.run(**arguments)
        except ToolFailed as failure:
            return {"content": [{"type": "text", "text": str(failure)}], "isError": True}
        text = value if isinstance(value, str) else json.dumps(value)
        return {
            "content": [{"type": "text", "text": text}],
            "structuredContent": {"result": value},
            "isError": False,
        }

    def _check(self, arguments: Json) -> None:
        schema: Json = self.definition["inputSchema"]
        for name in schema.get("required", ()):
            if name not in arguments:
                raise ToolFailed(f"Missing argument: {name}")
        for name, value in arguments.items():
            rule = schema["properties"].get(name)
            if rule is None:
                raise ToolFailed(f"Unknown argument: {name}")
            is_bool = isinstance(value, bool) and rule["type"] != "boolean"
            if is_bool or not isinstance(value, TYPES[rule["type"]]):
                raise ToolFailed(f"{name} must be of type {rule['type']}")
            if value not in rule.get("enum", (value,)):
                raise ToolFailed(f"{name} must be one of {', '.join(rule['enum'])}")


class Server:
    def __init__(self, name: str, version: str, tools: Sequence[Tool]) -> None:
        self._info = {"name": name, "version": version}
        self._tools = {tool.definition["name"]: tool for tool in tools}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Until stdin ends."""
        for line in sys.stdin.buffer:
            if line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        message: Json = {"id": None}
        try:
            message = parse(line)
            params = member(message, "params")
            tool = self._tool(params) if message["method"] == "tools/call" else None
        except Refused as refused:
            self._write({"id": message.get("id"), "error": refused.error})
            return
        if "id" not in message:
            return  # A notification: nothing here needs one.
        if tool is not None and tool.aside:
            threading.Thread(target=self._answer, args=(message, params), daemon=True).start()
        else:
            self._answer(message, params)

    def _tool(self, params: Json) -> Tool:
        tool = self._tools.get(str(params.get("name")))
        if tool is None:
            raise Refused(-32602, f"Unknown tool: {params.get('name')}")
        return tool

    def _answer(self, message: Json, params: Json) -> None:
        try:
            modern = self._era(member(params, "_meta"), message["method"])
            result = self._result(message["method"], params, modern=modern)
            if modern:
                result = {**result, "resultType": "complete", "_meta": {SERVER_KEY: self._info}}
            self._write({"id": message["id"], "result": result})
        except Refused as refused:
            self._write({"id": message["id"], "error": refused.error})

    def _era(self, meta: Mapping[str, Any], method: str) -> bool:
        """Whether the request is modern: then it says so itself."""
        if VERSION_KEY not in meta:
            if method == "server/discover":
                raise Refused(-32602, f"_meta lacks {VERSION_KEY}")
            return False
        if meta[VERSION_KEY] != MODERN:
            data = {"supported": [MODERN, *LEGACY], "requested": meta[VERSION_KEY]}
            raise Refused(-32022, "Unsupported protocol version", data)
        if not isinstance(meta.get(CAPABILITIES_KEY), dict):
            raise Refused(-32602, f"_meta lacks {CAPABILITIES_KEY}")
        return True

    def _result(self, method: str, params: Json, *, modern: bool) -> Json:
        cached = {"ttlMs": 300_000, "cacheScope": "public"} if modern else {}
        if method == "tools/list":
            return {"tools": [tool.definition for tool in self._tools.values()], **cached}
        if method == "tools/call":
            return self._tool(params).call(member(params, "arguments"))
        if method == "server/discover" and modern:
            return {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, **cached}
        if method == "ping" and not modern:
            return {}
        if method == "initialize" and not modern:
            wanted = params.get("protocolVersion")
            version = wanted if wanted in LEGACY else LEGACY[0]
            return {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": self._info,
            }
        raise Refused(-32601, f"Method not found: {method}")

    def _write(self, message: Json) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")) + "\n"
        with self._lock:
            sys.stdout.write(line)
            sys.stdout.flush()


def parse(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused(-32700, "Not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):  # pyright: ignore[reportUnknownMemberType]
        raise Refused(-32600, "Not a request")
    return cast("Json", message)


def member(parent: Json, name: str) -> Json:
    """An object inside an object; absent is empty."""
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise Refused(-32602, f"{name} must be an object")
    return cast("Json", value)
