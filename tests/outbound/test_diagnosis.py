"""Why a server is sick, in words."""

import errno

import pytest

from agenthub.outbound import diagnosis


@pytest.mark.parametrize(
    ("stderr", "problem", "words", "hint"),
    [
        (
            "ImportError: cannot import name 'FastMCP' from 'mcp.server' (/x.py)",
            "another version of the Python MCP SDK",
            "FastMCP",
            "mcp<2",
        ),
        (
            "ModuleNotFoundError: No module named 'mcp.server.fastmcp'",
            "another version of the Python MCP SDK",
            "mcp.server.fastmcp",
            "mcp<2",
        ),
        (
            "ModuleNotFoundError: No module named 'pandas'",
            "a Python module is missing",
            "pandas",
            "uvx",
        ),
        (
            "ImportError: libssl.so.1: cannot open",
            "import failed",
            "ImportError: libssl.so.1: cannot open",
            "uvx",
        ),
        ("npm WARN EBADENGINE Unsupported engine {", "another version of Node.js", "", "version"),
        (
            "SyntaxError: Unexpected token '??='",
            "wants a newer Node.js",
            "SyntaxError: Unexpected token '??='",
            "LTS",
        ),
        (
            "Error: Cannot find module '/srv/dist/x.js'",
            "module is missing",
            "/srv/dist/x.js",
            "build",
        ),
        ("npm error 404 Not Found - GET https://…", "npm knows no such package", "", "name"),
        ("  x No solution found when resolving tool", "uv found no such package", "", "name"),
        ("npm error code ENOTFOUND", "could not reach the network", "", "downloads"),
        ("Error: GITHUB_TOKEN is required", "an environment variable", "GITHUB_TOKEN", "env"),
        (
            "PermissionError: [Errno 13] Permission denied: '/x'",
            "denied a permission",
            "",
            "stderr",
        ),
        ("Error: listen EADDRINUSE: address already in use", "port that it wants", "", "port"),
    ],
)
def test_the_last_words_tell_what_is_wrong(stderr: str, problem: str, words: str, hint: str):
    found = diagnosis.ended(1, ["Traceback:", stderr], ready=False)
    assert problem in found.problem
    assert found.words == words
    assert found.problem.startswith("exited with code 1 before it answered: ")
    assert hint in found.hint


@pytest.mark.parametrize(
    ("code", "stderr", "problem"),
    [
        (0, ["bye"], "exited with code 0"),
        (-9, [], "was ended by SIGKILL"),
        (-11, [], "was ended by SIGSEGV, without a word on stderr"),
        (-99, [], "was ended by signal 99, without a word on stderr"),
        (2, [], "exited with code 2, without a word on stderr"),
    ],
)
def test_without_a_known_reason_it_says_how_it_ended(code: int, stderr: list[str], problem: str):
    found = diagnosis.ended(code, stderr, ready=True)
    assert (found.problem, found.words) == (problem, "".join(stderr))


@pytest.mark.parametrize(
    ("program", "number", "problem"),
    [
        ("foo", errno.ENOENT, "`foo` is not on PATH"),
        ("./foo", errno.ENOENT, "`./foo` does not exist"),
        ("./foo", errno.EACCES, "`./foo` may not be executed"),
        ("./foo", errno.ENOEXEC, "`./foo` is not a program for this machine"),
        ("foo", errno.EAGAIN, "`foo` did not start: Resource temporarily unavailable"),
    ],
)
def test_what_did_not_start_is_explained(program: str, number: int, problem: str):
    assert diagnosis.not_started(program, None, number).problem == problem


def test_a_missing_folder_is_named():
    found = diagnosis.not_started("foo", "/no/such/folder", errno.ENOENT)
    assert found.problem == "the working directory /no/such/folder does not exist"


def test_a_silent_launcher_may_be_downloading():
    assert "downloading" in diagnosis.silent(("/usr/bin/npx", "-y", "x"), 5).hint
    assert "MCP server" in diagnosis.silent(("cat",), 5).hint
