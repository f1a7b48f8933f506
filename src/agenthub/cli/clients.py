"""MCP clients: where each keeps its servers, and how an entry for the hub reads there.

client           file (of the user, not of a project)            an address is         else
claude-code      ~/.claude.json, `mcpServers`                    type http, url        command, args
claude-desktop   claude_desktop_config.json, `mcpServers`        (none in its file)    command, args
cursor           ~/.cursor/mcp.json, `mcpServers`                url                   command, args
vscode           Code/User/mcp.json, `servers`                   type http, url        type stdio
copilot          ~/.copilot/mcp-config.json, `mcpServers`        type http, tools      type local
codex            ~/.codex/config.toml, `mcp_servers`             url, http_headers     command, args
gemini           ~/.gemini/settings.json, `mcpServers`           httpUrl               command, args
windsurf         ~/.codeium/windsurf/mcp_config.json             serverUrl             command, args
zed              ~/.config/zed/settings.json, `context_servers`  url                   command, args

Sources, 2026-11: code.claude.com/docs/en/mcp · support.claude.com/articles/11503834 (Claude Desktop
takes no address from its file) · cursor.com/docs/mcp ·
code.visualstudio.com/docs/agents/reference/mcp-configuration ·
docs.github.com, Copilot CLI, "Add MCP servers" · developers.openai.com/codex/mcp ·
geminicli.com/docs/tools/mcp-server (`url` would be HTTP+SSE) · docs.windsurf.com, Cascade, MCP ·
zed.dev/docs/ai/mcp
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

Json = dict[str, Any]


class Place(NamedTuple):
    """What decides where files are."""

    home: Path
    environ: Mapping[str, str]
    platform: str
    """`sys.platform`."""

    def application(self, *parts: str) -> Path:
        """A file among the settings of a desktop application (Electron's `appData`)."""
        if self.platform == "darwin":
            return self.home.joinpath("Library", "Application Support", *parts)
        return self.config(*parts)

    def config(self, *parts: str) -> Path:
        base = self.environ.get("XDG_CONFIG_HOME")
        return (Path(base) if base else self.home / ".config").joinpath(*parts)

    def folder(self, variable: str, *default: str) -> Path:
        """A folder that a variable may move."""
        moved = self.environ.get(variable)
        return Path(moved) if moved else self.home.joinpath(*default)


class Client(NamedTuple):
    """A client, and its own file."""

    title: str
    file: Callable[[Place], Path]
    section: str
    """The member of the file that holds the servers."""
    by_url: Callable[[str, Json], Json] | None
    """The entry for an address and headers; None: it takes none."""
    by_sse: Callable[[str, Json], Json] | None
    """The same for an address of HTTP+SSE; None: the client does not know that transport."""
    by_command: Callable[[str, list[str]], Json]
    """The entry for a program and its arguments."""
    after: str
    """What the client's user does then."""


def _url(url: str, headers: Json) -> Json:
    return {"url": url, "headers": headers}


def _http(url: str, headers: Json) -> Json:
    return {"type": "http", "url": url, "headers": headers}


def _sse(url: str, headers: Json) -> Json:
    return {"type": "sse", "url": url, "headers": headers}


def _copilot(url: str, headers: Json) -> Json:
    return {"type": "http", "url": url, "headers": headers, "tools": ["*"]}


def _copilot_sse(url: str, headers: Json) -> Json:
    return {"type": "sse", "url": url, "headers": headers, "tools": ["*"]}


def _codex(url: str, headers: Json) -> Json:
    return {"url": url, "http_headers": headers}


def _gemini(url: str, headers: Json) -> Json:
    return {"httpUrl": url, "headers": headers}


def _windsurf(url: str, headers: Json) -> Json:
    return {"serverUrl": url, "headers": headers}


def _command(program: str, arguments: list[str]) -> Json:
    return {"command": program, "args": arguments}


def _stdio(program: str, arguments: list[str]) -> Json:
    return {"type": "stdio", "command": program, "args": arguments}


def _local(program: str, arguments: list[str]) -> Json:
    return {"type": "local", "command": program, "args": arguments, "tools": ["*"]}


def _claude_code_file(place: Place) -> Path:
    return place.folder("CLAUDE_CONFIG_DIR") / ".claude.json"


def _claude_desktop_file(place: Place) -> Path:
    return place.application("Claude", "claude_desktop_config.json")


def _cursor_file(place: Place) -> Path:
    return place.home / ".cursor" / "mcp.json"


def _vscode_file(place: Place) -> Path:
    return place.application("Code", "User", "mcp.json")


def _copilot_file(place: Place) -> Path:
    return place.folder("COPILOT_HOME", ".copilot") / "mcp-config.json"


def _codex_file(place: Place) -> Path:
    return place.folder("CODEX_HOME", ".codex") / "config.toml"


def _gemini_file(place: Place) -> Path:
    return place.home / ".gemini" / "settings.json"


def _windsurf_file(place: Place) -> Path:
    return place.home / ".codeium" / "windsurf" / "mcp_config.json"


def _zed_file(place: Place) -> Path:
    return place.config("zed", "settings.json")


CLIENTS: Final[Mapping[str, Client]] = {
    "claude-code": Client(
        "Claude Code", _claude_code_file, "mcpServers", _http, _sse, _stdio,
        "Start Claude Code anew; /mcp shows it.",
    ),
    "claude-desktop": Client(
        "Claude Desktop", _claude_desktop_file,
        "mcpServers", None, None, _command, "Quit Claude Desktop and start it anew.",
    ),
    "cursor": Client(
        "Cursor", _cursor_file, "mcpServers", _url, _url, _command,
        "Switch it on in Cursor's settings, below MCP.",
    ),
    "vscode": Client(
        "VS Code", _vscode_file, "servers", _http, _sse, _stdio,
        "`MCP: List Servers` in the command palette starts it.",
    ),
    "copilot": Client(
        "Copilot CLI", _copilot_file,
        "mcpServers", _copilot, _copilot_sse, _local, "Start copilot anew; /mcp show shows it.",
    ),
    "codex": Client(
        "Codex", _codex_file, "mcp_servers",
        _codex, None, _command, "Start codex anew; /mcp shows it.",
    ),
    "gemini": Client(
        "Gemini CLI", _gemini_file, "mcpServers", _gemini, _url,
        _command, "Start gemini anew; /mcp shows it.",
    ),
    "windsurf": Client(
        "Windsurf", _windsurf_file,
        "mcpServers", _windsurf, _windsurf, _command, "Refresh the MCP servers in Cascade.",
    ),
    "zed": Client(
        "Zed", _zed_file, "context_servers", _url, None, _command,
        "Zed takes it up at once.",
    ),
}  # fmt: skip


def token_of(entry: Any) -> str:
    """The hub's key in an entry that stands in a client's file; empty if there is none."""
    facts = cast("Json", entry) if isinstance(entry, dict) else {}
    for key in ("headers", "http_headers"):
        headers = facts.get(key)
        if isinstance(headers, dict):
            value = cast("Json", headers).get("Authorization")
            if isinstance(value, str) and value.startswith("Bearer "):
                return value.removeprefix("Bearer ")
    return ""
