"""What MCP clients write into their files about servers, as the hub's records.

Claude Desktop, Claude Code, Cursor, Windsurf, Gemini CLI   {"mcpServers": {name: entry}}
Claude Code, of one project      {"projects": {folder: {"mcpServers": {name: entry}}}}
VS Code                          {"servers": {name: entry}, "inputs": […]}, also below "mcp"
Zed                              {"context_servers": {name: entry}}
opencode                         {"mcp": {name: entry}}
Codex (TOML)                     [mcp_servers.name]

An entry that cannot be taken over is kept where it is, with the reason. Secrets stay references
where they were references; what an editor would ask for becomes a variable of the hub.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from agenthub.cli.ending import Failed

Json = dict[str, Any]

SECTIONS: Final = (
    ("mcpServers",), ("servers",), ("mcp", "servers"), ("context_servers",), ("mcp_servers",),
    ("mcp",),
)  # fmt: skip
STDIO: Final = frozenset({"stdio", "local"})
HTTP: Final = frozenset({"http", "streamablehttp", "remote", "sse"})
"""Which of the transports over HTTP a server speaks, the hub finds out."""
TELLING: Final = (
    "envFile", "oauth", "auth", "includeTools", "excludeTools", "disabledTools", "enabled_tools",
    "disabled_tools", "sandbox",
)  # fmt: skip
"""Keys that mean something to their client which the hub does not take over, and says so."""
ITSELF: Final = "it is the hub itself, which would call itself without end"

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_BARE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


class Unreadable(Exception):
    """An entry cannot be taken over; says why."""


class Found(NamedTuple):
    """A server of the file, as the hub would have it."""

    name: str
    called: str
    """Its name in the file."""
    record: Json
    notes: tuple[str, ...]
    why_not: str = ""
    """Why it cannot be taken over; then there is no record."""


class Surroundings(NamedTuple):
    """What references in a file may mean."""

    environ: Mapping[str, str]
    home: str


class _Entry(NamedTuple):
    value: Any
    note: str = ""


def servers_of(document: Any, around: Surroundings, source: str) -> list[Found]:
    """All servers of the file, in its order. Raises Failed if it holds none at all."""
    if not isinstance(document, dict):
        raise Failed(f"{source}: expected a JSON object.")
    entries = _entries(cast("Json", document))
    if entries is None:
        raise Failed(
            f"{source}: found no servers; expected `mcpServers`, `servers` or `context_servers`."
        )
    taken: set[str] = set()
    found: list[Found] = []
    for called, entry in entries.items():
        name = _unique(_name(called), taken)
        reader = _Reader(around)
        notes = [f"called {called!r} there"] if name != called else []
        notes += [entry.note] if entry.note else []
        try:
            record = reader.record(name, entry.value)
        except Unreadable as unreadable:
            found.append(Found(name, called, {}, tuple(notes), str(unreadable)))
        else:
            notes += dict.fromkeys(reader.notes)
            found.append(Found(name, called, record, tuple(notes)))
    return found


def _entries(document: Json) -> dict[str, _Entry] | None:
    """All entries by what they are called; None if there is no place for them."""
    entries: dict[str, _Entry] = {}
    parts = [_part(document, section) for section in SECTIONS]
    for part in parts:
        for called, value in (part or {}).items():
            entries.setdefault(called, _Entry(value))
    projects = _part(document, ("projects",)) or {}
    for folder, project in projects.items():
        for called, value in (_part(project, ("mcpServers",)) or {}).items():
            entries.setdefault(called, _Entry(value, f"of the project {folder}"))
    if entries or any(part is not None for part in parts):
        return entries
    bare = {k: _Entry(v) for k, v in document.items() if _looks_like_a_server(v)}
    return bare or None


def _part(document: Any, section: tuple[str, ...]) -> Json | None:
    """The object at this place of the file, if there is one."""
    part: Any = document
    for key in section:
        part = cast("Json", part).get(key) if isinstance(part, dict) else None
    if not isinstance(part, dict) or (section == ("mcp",) and "servers" in part):
        return None
    return cast("Json", part)


def _looks_like_a_server(entry: Any) -> bool:
    return isinstance(entry, dict) and any(key in entry for key in ("command", "url", "serverUrl"))


def _name(called: str) -> str:
    """The nearest name that the hub can use."""
    name = re.sub(r"[^a-z0-9_-]+", "-", called.lower())
    name = re.sub(r"__+", "_", name).strip("-_")[:60].strip("-_")
    return name or "server"


def _unique(name: str, taken: set[str]) -> str:
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen)
    return chosen


class _Reader:
    """Reads one entry."""

    def __init__(self, around: Surroundings) -> None:
        self.notes: list[str] = []
        self._around = around

    def record(self, name: str, entry: Any) -> Json:
        if not isinstance(entry, dict):
            raise Unreadable("it is not an object")
        facts = cast("Json", entry)
        command = facts.get("command")
        if isinstance(command, dict):
            # Zed's older form has program, arguments and environment below `command`.
            inner = cast("Json", command)
            facts = {**facts, **inner, "command": inner.get("path")}
        made: Json = {"name": name, **self._target(facts)}
        if facts.get("disabled") is True or facts.get("enabled") is False:
            made["enabled"] = False
            self.notes.append("switched off there, so here too")
        left = [key for key in TELLING if facts.get(key)]
        if left:
            self.notes.append(f"not taken over: {', '.join(left)}")
        return made

    def _target(self, facts: Json) -> Json:
        command = facts.get("command")
        url = next((facts[k] for k in ("httpUrl", "serverUrl", "url") if facts.get(k)), None)
        kind = self._kind(facts)
        if kind and kind not in STDIO | HTTP:
            raise Unreadable(f"the hub knows no type {str(facts.get('type'))[:40]!r}")
        if command and url and not kind:
            raise Unreadable("it has both a command and an address")
        if command and kind not in HTTP:
            return self._process(facts)
        if url and kind not in STDIO:
            return self._address(url, facts)
        raise Unreadable("it has neither a command nor an address")

    @staticmethod
    def _kind(facts: Json) -> str:
        kind = facts.get("type") or facts.get("transport") or facts.get("transportType") or ""
        return re.sub(r"[^a-z]", "", str(kind).lower())

    def _address(self, url: Any, facts: Json) -> Json:
        if not isinstance(url, str):
            raise Unreadable("its address is not text")
        made: Json = {"url": self._kept("url", url)}
        headers = self._texts(facts, "headers") | self._texts(facts, "http_headers")
        for header, variable in self._texts(facts, "env_http_headers").items():
            headers[header] = f"${{{variable}}}"
        if token := facts.get("bearer_token_env_var"):
            headers["Authorization"] = f"Bearer ${{{token}}}"
        if headers:
            made["headers"] = {key: self._kept(key, value) for key, value in headers.items()}
        return made

    def _process(self, facts: Json) -> Json:
        words = self._words(facts)
        if "agenthub" in {Path(word).name for word in words[:3]} and "stdio" in words:
            raise Unreadable(ITSELF)
        made: Json = {"command": [self._filled("command", word) for word in words]}
        env = self._texts(facts, "env") | self._texts(facts, "environment")
        for variable in facts.get("env_vars") or ():
            env.setdefault(str(variable), f"${{{variable}}}")
        if env:
            made["env"] = {key: self._kept(key, value) for key, value in env.items()}
        if cwd := facts.get("cwd"):
            made["cwd"] = self._filled("cwd", str(cwd)).replace("~", self._around.home, 1)
        return made

    def _words(self, facts: Json) -> list[str]:
        command: Any = facts.get("command")
        args: Any = facts.get("args") or []
        if not isinstance(args, list):
            raise Unreadable("its args are not a list")
        if isinstance(command, list):
            words = cast("list[Any]", command)
        elif isinstance(command, str):
            words = [command]
            if " " in command and not args and "/" not in command and "\\" not in command:
                words = _split(command)
                self.notes.append("its command was one text; it was taken apart at the spaces")
        else:
            raise Unreadable("its command is not text")
        return [_text(word) for word in [*words, *cast("list[Any]", args)]]

    def _texts(self, facts: Json, key: str) -> dict[str, str]:
        """A table of text; nothing if there is none. A null there takes a variable away."""
        table = facts.get(key)
        if table is None:
            return {}
        if not isinstance(table, dict):
            raise Unreadable(f"its {key} is not an object")
        return {k: _text(v) for k, v in cast("Json", table).items() if v is not None}

    def _kept(self, key: str, value: str) -> str:
        """The value with its references as the hub writes them; the hub fills them in."""

        def one(match: re.Match[str]) -> str:
            known = self._editors(match[1])
            if known is not None:
                return known
            word = match[1]
            if word.startswith("file:"):
                return match[0]
            if word.startswith("input:"):
                variable = _variable(word.removeprefix("input:"))
                self.notes.append(f"its editor asks for {key}: set {variable} for the hub")
                return f"${{{variable}}}"
            word = word.removeprefix("env:")
            if not (name := _VARIABLE.fullmatch(word)):
                raise Unreadable(f"the hub cannot fill in ${{{word[:40]}}}")
            if name[2] is None and name[1] not in self._around.environ:
                self.notes.append(f"set {name[1]} for the hub")
            return f"${{{word}}}"

        bare = _BARE.fullmatch(value)
        return _REFERENCE.sub(one, f"${{{bare[1]}}}" if bare else value)

    def _filled(self, key: str, value: str) -> str:
        """The value with its references filled in now: a command's words are kept as they are."""

        def one(match: re.Match[str]) -> str:
            known = self._editors(match[1])
            if known is not None:
                return known
            name = _VARIABLE.fullmatch(match[1].removeprefix("env:"))
            found = (self._around.environ.get(name[1]) or name[2]) if name else None
            if found is None:
                raise Unreadable(f"its {key} needs ${{{match[1][:40]}}}, which is not known here")
            self.notes.append(f"${{{match[1]}}} in its {key} was filled in")
            return found

        return _REFERENCE.sub(one, value)

    def _editors(self, word: str) -> str | None:
        """What only editors know, as far as it is the same for everybody."""
        if word == "userHome":
            return self._around.home
        if word in {"/", "pathSeparator"}:
            return "/"
        if word.startswith("workspaceFolder"):
            raise Unreadable(f"it needs ${{{word[:40]}}}, which only its editor knows")
        return None


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise Unreadable(f"its command cannot be taken apart: {error}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Unreadable("it has a list or an object where text is expected")


def _variable(word: str) -> str:
    """A variable's name for what an editor would ask for."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_").upper()
    return name if name[:1].isalpha() else f"INPUT_{name}"
