"""Why a server's process did not run or did not last, in words, and what to do about it.

Read from the exit code and the last lines of stderr. Guesses are marked as such by their wording.
What is of stderr itself stands apart, in `words`: it may hold arguments or secrets, and is for
the operator alone (A48).
"""

import errno
import os
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct


class Diagnosis(Struct, frozen=True):
    problem: str
    """The kind of sickness, for everybody."""
    hint: str = ""
    words: str = ""
    """What the server itself said of it on stderr."""


def _rule(pattern: str, problem: str, hint: str) -> tuple[re.Pattern[str], str, str]:
    return re.compile(pattern), problem, hint


# The first that matches wins; what the pattern caught are its words.
_RULES = (
    _rule(
        r"cannot import name '(\w+)' from '(?:mcp|fastmcp)[\w.]*'"
        r"|No module named '((?:mcp|fastmcp)\.[\w.]+)'",
        "was written for another version of the Python MCP SDK",
        "Pin the SDK it was written for, e.g. `uvx --with 'mcp<2' …`, or update the server.",
    ),
    _rule(
        r"No module named '?([\w.]+)'?",
        "a Python module is missing",
        "Install it into the environment that runs the server, or start the server by uvx.",
    ),
    _rule(
        r"(ImportError: .{1,200})",
        "a Python import failed",
        "Its packages do not fit together; reinstall it, or start it by uvx.",
    ),
    _rule(
        r"(?:EBADENGINE|Unsupported engine|[Rr]equires [Nn]ode|engine \"node\" is incompatible)",
        "wants another version of Node.js",
        "Install the version of Node.js that its documentation names.",
    ),
    _rule(
        r"((?:SyntaxError: Unexpected (?:token|reserved word|identifier).{0,80}"
        r"|ReferenceError: (?:File|fetch|structuredClone|crypto|WebSocket) is not defined"
        r"|ERR_REQUIRE_ESM|ERR_UNKNOWN_BUILTIN_MODULE))",
        "probably wants a newer Node.js",
        "Install the current LTS version of Node.js.",
    ),
    _rule(
        r"Cannot find (?:module|package) '([^']{1,200})'",
        "a Node.js module is missing",
        "Run the package's install or build step, or start the server by npx.",
    ),
    _rule(
        r"npm (?:ERR!|error) (?:code )?E?404",
        "npm knows no such package",
        "Check the package's name.",
    ),
    _rule(
        r"(?:No solution found when resolving|was not found in the package registry"
        r"|No matching distribution found)",
        "uv found no such package, or none that fits",
        "Check the package's name and the Python version it wants.",
    ),
    _rule(
        r"ENOTFOUND|EAI_AGAIN|[Dd]ns error|Temporary failure in name resolution|ETIMEDOUT",
        "could not reach the network",
        "Check the connection; the first start of npx and uvx downloads the server.",
    ),
    _rule(
        r"(?i)\b([A-Z][A-Z0-9]*_(?:[A-Z0-9_]*_)?(?:KEY|TOKEN|SECRET|URL|ID|PASSWORD))\b"
        r".{0,60}\b(?:required|missing|not set|must be|undefined|unset)",
        "wants an environment variable",
        "Give it in the server's `env`.",
    ),
    _rule(r"EACCES|Permission denied", "was denied a permission", "See its last lines of stderr."),
    _rule(
        r"EADDRINUSE|[Aa]ddress already in use",
        "a port that it wants is taken",
        "End the other process, or give the server another port.",
    ),
)


def not_started(program: str, cwd: str | None, number: int) -> Diagnosis:
    """The operating system refused to run it; `number` is its errno."""
    if cwd and not Path(cwd).is_dir():
        return Diagnosis(
            f"the working directory {cwd} does not exist", "Create it or change `cwd`."
        )
    if number == errno.ENOENT and "/" not in program:
        return Diagnosis(
            f"`{program}` is not on PATH",
            "Install it or give the full path. The hub's PATH may differ from your shell's.",
        )
    if number == errno.ENOENT:
        return Diagnosis(f"`{program}` does not exist", "Check the path; npm and uv may know more.")
    if number == errno.EACCES:
        return Diagnosis(f"`{program}` may not be executed", f"chmod +x {shlex.quote(program)}")
    if number == errno.ENOEXEC:
        return Diagnosis(
            f"`{program}` is not a program for this machine",
            "Scripts need a first line like `#!/usr/bin/env python3`.",
        )
    return Diagnosis(f"`{program}` did not start: {os.strerror(number)}")


def ended(code: int, stderr: Sequence[str], *, ready: bool) -> Diagnosis:
    """It ran and ended by itself; `ready`: it had answered before."""
    how = f"exited with code {code}" if code >= 0 else f"was ended by {_signal(-code)}"
    when = "" if ready else " before it answered"
    text = "\n".join(stderr)
    for pattern, problem, hint in _RULES:
        if match := pattern.search(text):
            caught = next((group for group in match.groups() if group), "")
            return Diagnosis(f"{how}{when}: {problem}", hint, caught)
    if stderr:
        return Diagnosis(f"{how}{when}", "See its last lines of stderr.", stderr[-1][:300])
    if code == -signal.SIGKILL:
        return Diagnosis(f"{how}{when}", "Somebody killed it, or the machine ran out of memory.")
    return Diagnosis(f"{how}{when}, without a word on stderr", "Run its command by hand to see.")


def silent(command: Sequence[str], seconds: int) -> Diagnosis:
    """It runs, but answered nothing."""
    launcher = Path(command[0]).name in {"npx", "uvx", "bunx", "pnpx", "docker", "pipx"}
    return Diagnosis(
        f"started {seconds} s ago, but does not answer",
        "Its first start may still be downloading; otherwise run its command by hand."
        if launcher
        else "Is it an MCP server that speaks on stdin and stdout? Run its command by hand.",
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
