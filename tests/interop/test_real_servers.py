"""A client's file with six real servers, one of them broken; every real client uses the five."""

import json
import subprocess
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.interop_clients import CLIENTS, INSTALLED, PACKAGES, RealClient, Wish, environment
from support.real_hub import RealHub

WELL = ("time", "git", "fetch", "everything", "filesystem")
BROKEN = "memory"


class Page(BaseHTTPRequestHandler):
    """What the fetch server fetches."""

    def do_GET(self) -> None:
        body = b"<html><body><p>The page of the interop tests.</p></body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@dataclass(frozen=True)
class House:
    hub: RealHub
    key: str
    calls: dict[str, tuple[str, dict, str]]
    """By server: a tool, its arguments, and what a good answer holds."""
    imported: str


def repository(folder: Path) -> Path:
    who = ("-c", "user.name=Interop", "-c", "user.email=interop@example.org")
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "First commit"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def client_file(file: Path, work: Path) -> Path:
    """As a desktop client would have it; `memory` names a file that is not there."""
    npx = ["--prefix", str(INSTALLED / "npm"), "--no-install", "mcp-server-everything"]
    files = PACKAGES / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
    servers = {
        "time": {"command": "mcp-server-time", "args": ["--local-timezone", "UTC"]},
        "git": {"command": "mcp-server-git", "args": ["--repository", str(work)]},
        "fetch": {
            "command": "mcp-server-fetch",
            "args": ["--ignore-robots-txt", "--allow-private-ips"],
        },
        "everything": {"command": "npx", "args": npx},
        "filesystem": {"command": "node", "args": [str(files), str(work)]},
        BROKEN: {"command": "node", "args": [str(files.with_name("not-there.js"))]},
    }
    file.write_text(json.dumps({"mcpServers": servers}))
    return file


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("six")
    (folder / "work").mkdir()
    work = repository(folder / "work")
    (work / "note.txt").write_text("The note of the interop tests.")
    web = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    calls = {
        "time": ("get_current_time", {"timezone": "UTC"}, '"UTC"'),
        "git": ("git_log", {"repo_path": str(work), "max_count": 1}, "First commit"),
        "fetch": (
            "fetch",
            {"url": f"http://127.0.0.1:{web.server_port}/"},
            "The page of the interop tests.",
        ),
        "everything": ("echo", {"message": "hello"}, "Echo: hello"),
        "filesystem": (
            "read_text_file",
            {"path": str(work / "note.txt")},
            "The note of the interop tests.",
        ),
    }
    with RealHub(folder / "home", environment()) as hub:
        imported = hub.command("import", str(client_file(folder / "client.json", work)))
        hub.ready(*WELL, seconds=40)
        yield House(hub, hub.key(), calls, imported)
    web.shutdown()
    web.server_close()


def test_an_import_takes_all_six_and_says_which_one_is_sick(house):
    assert set(house.hub.servers()) == {*WELL, BROKEN}
    assert all(name in house.imported for name in (*WELL, BROKEN))
    assert "not-there.js" in house.imported


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_every_real_client_gets_an_answer_of_each_server(client: RealClient, house: House):
    calls = [(f"{name}__{tool}", given) for name, (tool, given, _) in house.calls.items()]
    told = client.do(Wish(f"{house.hub.url}/mcp", house.key, calls=calls, all_lists=True))
    assert told["version"] == client.version
    for (name, (_, _, expected)), answer in zip(house.calls.items(), told["answers"], strict=True):
        assert not answer["error"], (name, answer)
        assert expected in answer["text"], name
    assert {tool.partition("__")[0] for tool in told["tools"]} == set(WELL)
    assert "fetch__fetch" in told["prompts"]
    assert any(prompt.startswith("everything__") for prompt in told["prompts"])
    assert told["resources"]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_server_s_own_address_shows_it_with_its_own_names(client: RealClient, house: House):
    wish = Wish(f"{house.hub.url}/mcp/time", house.key, calls=[("convert_time", {
        "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo",
    })])  # fmt: skip
    told = client.do(wish)
    assert told["version"] == client.version
    assert told["tools"] == ["convert_time", "get_current_time"]
    assert "21:00" in told["answers"][0]["text"]


def test_the_command_line_calls_them_too(house):
    for name, (tool, given, expected) in house.calls.items():
        assert expected in house.hub.command("call", name, tool, "--json", json.dumps(given))


def test_the_doctor_explains_the_broken_one_and_finds_nothing_wrong_with_the_others(house):
    told = json.loads(house.hub.command("doctor", "--json", code=1))["servers"]
    cases = {case["name"]: case for case in told}
    assert {name for name, case in cases.items() if case["ok"]} == set(WELL)
    sick = cases[BROKEN]
    assert sick["hint"]
    assert sick["problem"]
    assert "Cannot find module" in "\n".join([sick["problem"], *map(str, sick["stderr"])])


def test_the_doctor_s_words_for_a_person_hold_the_cause(house):
    told = house.hub.command("doctor", BROKEN, code=1)
    assert "not-there.js" in told
    assert "1 of 1 servers is sick" in told
