"""Attacks on a hub that runs as its users run it: one process, one hostile server behind it."""

import json
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from support.exchange import initialize as hello
from support.exchange import legacy, modern, post
from support.serve_hub import serving, until

HOSTILE = Path(__file__).parents[1] / "support/stdio_servers/hostile.py"
ARGUMENT, IN_ENV, IN_HEADER = "canary-argument-71", "canary-env-72", "canary-header-73"
IN_URL = "canary-url-74"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    home = tmp_path_factory.mktemp("attacked") / "home"
    with serving(home, "--no-demo") as served:
        put = served.ask(
            "POST", "/api/endpoints",
            {
                "name": "hostile", "command": [sys.executable, "-S", str(HOSTILE)],
                "env": {"TOKEN": IN_ENV}, "rate_limit": None,
            },
        )  # fmt: skip
        assert put[0] == 201, put
        headers = {"Authorization": f"Bearer {IN_HEADER}"}
        far = {"name": "far", "url": f"http://127.0.0.1:9/mcp?key={IN_URL}", "headers": headers}
        assert served.ask("POST", "/api/endpoints", far)[0] == 201
        yield served.until_well("hostile")


def key(hub, *scopes, endpoints=None, **terms):
    wish = {"name": "k", "scopes": list(scopes), "terms": terms}
    if endpoints is not None:
        wish["endpoints"] = endpoints
    status, made = hub.ask("POST", "/api/keys", wish)
    assert status == 201, made
    return made["key"]


def mcp(hub, exchange, token=None):
    """Status, headers and bytes of what the MCP door answers to a request of the kit."""
    request = exchange.request
    line = hub.connection()
    sent = {name.decode(): v.decode() if isinstance(v, bytes) else v for name, v in request.headers}
    sent |= {"authorization": f"Bearer {token or hub.token}", "content-type": "application/json"}
    try:
        line.request(request.method, request.path, request.body, sent)
        answer = line.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        line.close()


def call(hub, tool, token=None, **arguments):
    params = {"name": f"hostile__{tool}", "arguments": arguments}
    return json.loads(mcp(hub, modern("tools/call", params), token)[2])


def routes(hub):
    """Each path and method of REST, with something in place of its parameters."""
    for path, methods in hub.get("/openapi.json")["paths"].items():
        filled = path
        while "{" in filled:
            before, _, rest = filled.partition("{")
            filled = before + "far" + rest.partition("}")[2]
        yield from ((method.upper(), filled) for method in methods if method != "parameters")


def test_a04_every_route_asks_for_a_key_and_its_scope(hub):
    """All of REST, as the hub itself lists it, and both eras of MCP."""
    tools, read = key(hub, "tools"), key(hub, "read")
    seen = list(routes(hub))
    assert len(seen) > 15
    for method, path in seen:
        body = {} if method in {"POST", "PUT"} else None
        probe = path in {"/healthz", "/readyz"}
        status, _ = hub.ask(method, path, body, token="wrong" * 9)
        assert status == (200 if probe else 401), (method, path)
        if method != "GET" and path != "/api/tools/call":
            for weak in (tools, read):
                status, _ = hub.ask(method, path, body, token=weak)
                assert status == 403, (method, path, "a change is the admin's")
    assert hub.ask("POST", "/api/tools/call", {}, token=read)[0] == 403
    assert hub.ask("GET", "/api/keys", token=read)[0] == 403
    for request in (modern("tools/list"), hello(), legacy("tools/list")):
        assert mcp(hub, request, "wrong" * 9)[0] == 401
        assert mcp(hub, request, read)[0] == 403


def test_a04_a_key_for_other_servers_neither_sees_nor_reaches_this_one(hub):
    other = key(hub, "tools", "read", endpoints=["far"])
    listed = json.loads(mcp(hub, modern("tools/list"), other)[2])
    assert "hostile" not in json.dumps(listed)
    assert call(hub, "well", other)["error"]["data"]["code"] == "unknown_target"
    assert mcp(hub, modern("tools/list", path="/mcp/hostile"), other)[0] == 404
    for path in ("/api/endpoints", "/api/tools", "/api/calls", "/api/gateway/circuit-breakers"):
        status, seen = hub.ask("GET", path, token=other)
        assert status == 200
        assert "hostile" not in json.dumps(seen), path
    for path in ("/api/endpoints/hostile", "/api/gateway/circuit-breaker/hostile"):
        assert hub.ask("GET", path, token=other)[0] == 404


@pytest.mark.parametrize("body", [
    b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', b"[" * 100_000,
    b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', b"\xff\xfe{\x00}\x00",
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', b'{"jsonrpc":"2.0","id":1,"method":"ping"} x',
])  # fmt: skip
def test_a14_a15_what_can_be_read_in_two_ways_is_not_read(hub, body):
    headers = modern("tools/list").request.headers
    status, _, answer = mcp(hub, post(body, headers))
    assert status == 400
    assert json.loads(answer)["error"]["code"] in {-32700, -32600}


def test_a16_a17_headers_versions_and_sessions_that_lie(hub):
    status, _, answer = mcp(hub, modern("tools/list", method_=b"tools/call"))
    assert (status, json.loads(answer)["error"]["code"]) == (400, -32020)
    new = {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    status, _, answer = mcp(hub, modern("tools/list", meta=new, version=b"2099-01-01"))
    assert (status, json.loads(answer)["error"]["code"]) == (400, -32022)
    _, headers, _ = mcp(hub, hello())
    session = next(v for name, v in headers.items() if name.lower() == "mcp-session-id")
    other = key(hub, "tools")
    assert mcp(hub, legacy("tools/list", session=session.encode()))[0] == 200
    assert mcp(hub, legacy("tools/list", session=session.encode()), other)[0] == 404
    assert mcp(hub, legacy("tools/list", session=b"forged"))[0] == 404


@pytest.mark.parametrize("name", [
    "hostile__../x", "hostile__a/b", "x" * 10_000, "", "hostile__\u202ewell", "hostile__w\u0435ll",
    "io.agenthub/well", "hostile____well",
])  # fmt: skip
def test_a18_odd_names_of_tools_reach_nobody(hub, name):
    answer = json.loads(mcp(hub, modern("tools/call", {"name": name, "arguments": {}}))[2])
    assert answer["error"]["code"] == -32602, answer


def test_a18_what_a_key_may_not_touch_does_not_exist_for_it(hub):
    """Neither in a list, nor to a call, nor through a view or another tool's name."""
    limited = key(hub, "tools", "read", tools={"allow": ["hostile__odd*"]})
    assert hub.ask("POST", "/api/views", {"name": "all", "allow": ["*"], "search": "on"})[0] == 201
    for path in ("/mcp", "/mcp/hostile", "/mcp/v/all"):
        assert b'"well"' not in mcp(hub, modern("tools/list", path=path), limited)[2]
    words = {"name": "search_tools", "arguments": {"query": "well"}}
    found = mcp(hub, modern("tools/call", words, path="/mcp/v/all"), limited)[2]
    assert b"hostile__well" not in found
    assert "well" not in json.dumps(hub.ask("GET", "/api/tools", token=limited))
    through = {"name": "call_tool", "arguments": {"name": "hostile__well", "arguments": {}}}
    for path, wish in [
        ("/mcp", {"name": "hostile__well"}), ("/mcp/hostile", {"name": "well"}),
        ("/mcp/v/all", {"name": "hostile__well"}), ("/mcp/v/all", through),
    ]:  # fmt: skip
        answer = json.loads(mcp(hub, modern("tools/call", wish, path=path), limited)[2])
        assert answer["error"]["data"]["code"] == "unknown_target", path
    refused = {"server": "hostile", "tool": "well", "arguments": {}}
    assert hub.ask("POST", "/api/tools/call", refused, token=limited)[0] == 404
    assert hub.ask("DELETE", "/api/views/all", {})[0] == 204


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "gopher://x", "ftp://x", "javascript:alert(1)", "http://user:pw@h",
    "http://h#@evil", "unix:///run/x.sock", "http+unix://x", "//x", "",
])  # fmt: skip
def test_a19_an_address_that_is_no_web_address_is_refused(hub, url):
    assert hub.ask("POST", "/api/endpoints", {"name": "evil", "url": url})[0] == 400
    status, _ = hub.ask("PUT", "/api/endpoints/far", {"name": "far", "url": url})
    assert status == 400


def test_a26_a27_code_is_run_for_admins_and_only_when_it_was_saved(hub, tmp_path):
    ran = tmp_path / "ran"
    record = {"name": "evil", "command": ["touch", str(ran)]}
    weak = key(hub, "tools", "read")
    assert hub.ask("POST", "/api/endpoints", record, token=weak)[0] == 403
    assert hub.ask("POST", "/api/endpoints/far/test", record)[0] == 400
    for words in (["./evil"], ["x", "\0"], []):
        assert hub.ask("POST", "/api/endpoints", {"name": "evil", "command": words})[0] == 400
    for name in ("LD_PRELOAD", "PYTHONSTARTUP", "NODE_OPTIONS", "PATH"):
        env = {"name": "evil", "command": ["x"], "env": {name: "--require ./x"}}
        assert hub.ask("POST", "/api/endpoints", env)[0] == 400, name
    assert not ran.exists()


def test_a32_tools_with_schemas_that_attack_are_left_out_and_the_others_work(hub):
    names = {tool["name"] for tool in hub.get("/api/tools")["tools"]}
    assert {"well", "forger"} <= names
    assert not {"remote", "local_file", "loop", "deep", "wide", "split_header"} & names
    assert "result" in call(hub, "well")


def test_a33_arguments_that_do_not_fit_are_not_sent(hub):
    for arguments in ({"a": "x"}, {"a": 1, "__proto__": {"x": 1}}, {"a": 1, "b": "y" * 1_000_000}):
        answer = call(hub, "strict", **arguments)
        assert answer["error"]["code"] == -32602
        assert answer["error"]["data"]["executed"] == "no"


def test_a34_what_a_server_says_is_data(hub):
    answer = call(hub, "forger")
    assert answer["result"]["content"][0]["text"] == "![x](http://evil/?q=)<script>"
    assert answer["result"]["content"][1]["uri"].endswith("file:///etc/passwd")
    assert answer["result"]["_meta"]["io.agenthub/served_by"] == "hostile", "not what it made up"
    assert "io.agenthub/admin" not in answer["result"]["_meta"]
    forged = call(hub, "forged_error")["error"]
    assert forged["code"] != -31011
    assert forged.get("data", {}).get("code") != "forbidden"


def test_a44_nobody_opens_a_circuit_with_bad_arguments_or_tiny_deadlines(hub):
    for _ in range(40):
        wish = {"server": "hostile", "tool": "strict", "arguments": {"a": "x"}}
        assert hub.ask("POST", "/api/tools/call", wish)[0] == 400
        wish = {"server": "hostile", "tool": "slow", "arguments": {}, "deadline_ms": 1}
        assert hub.ask("POST", "/api/tools/call", wish)[0] >= 400
    assert hub.get("/api/gateway/circuit-breaker/hostile")["state"] == "closed"
    assert "result" in call(hub, "well")


def resident_kib(pid):
    words = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in words if line.startswith("VmRSS"))


def test_a45_made_up_names_take_no_memory(hub):
    def ask(number):
        wish = {"server": f"s{number}", "tool": f"t{number}", "arguments": {}}
        assert hub.ask("POST", "/api/tools/call", wish)[0] == 404
        wish = {"server": "hostile", "tool": f"t{number}", "arguments": {}}
        assert hub.ask("POST", "/api/tools/call", wish)[0] == 404

    for number in range(50):
        ask(number)
    before = resident_kib(hub.pid)
    for number in range(50, 250):
        ask(number)
    assert resident_kib(hub.pid) - before < 4 * 1024
    line = hub.connection()
    line.request("GET", "/metrics", headers={"authorization": f"Bearer {hub.token}"})
    page = line.getresponse().read()
    line.close()
    assert b"t200" not in page
    assert b"s200" not in page


def test_a47_nobody_writes_a_line_into_the_log(hub):
    text = "x\nERROR forged\x1b[31m {}%s" + '{"level":"error"}'
    call(hub, text)
    call(hub, "noisy")
    hub.ask("GET", "/api/calls?endpoint=x%0AERROR%20forged")
    assert "result" in call(hub, "well")
    assert "\x1b" not in hub.words()
    assert not any(line.startswith("ERROR forged") for line in hub.words().splitlines())


def test_a48_no_secret_is_in_any_output(hub):
    """Arguments, environment, headers, addresses and keys, planted and looked for everywhere."""
    token = key(hub, "tools", "read")
    call(hub, "well", token, a=ARGUMENT)
    call(hub, "strict", token, a=ARGUMENT)
    call(hub, "crash", token)
    shown = lambda: hub.words() + json.dumps(hub.get("/api/endpoints/hostile"))  # noqa: E731
    until(lambda: "no user for ***" in shown(), what="the last words")
    hub.call("far", "x", a=ARGUMENT)
    hub.ask("POST", "/api/endpoints/far/test?seconds=1")
    rows = until(lambda: hub.get("/api/calls?limit=10")["calls"], what="rows")
    seen = {
        path: json.dumps(hub.get(path))
        for path in (
            "/api/endpoints", "/api/tools", "/api/keys", "/api/gateway/metrics",
            "/api/gateway/circuit-breakers", "/openapi.json", "/api/endpoints/far",
        )
    }  # fmt: skip
    seen["/readyz"] = json.dumps(hub.ask("GET", "/readyz"))
    for path in ("/readyz", "/api/check", "/api/endpoints", "/api/endpoints/hostile"):
        told = json.dumps(hub.ask("GET", path, token=token))
        assert "KeyError" not in told, f"stderr is for admins alone: {path}"
        assert "no user for" not in told, path
    seen["calls"] = json.dumps(rows)
    seen["stderr"], seen["stdout"] = hub.words(), hub.out.read_text()
    for pid in hub.family():
        seen[f"cmdline {pid}"] = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    for where, text in seen.items():
        for secret in (ARGUMENT, IN_ENV, IN_HEADER, IN_URL, hub.token, token):
            assert secret not in text, (secret, where)
    kept = b"".join(file.read_bytes() for file in hub.home.glob("*db*"))
    assert kept, "the database"
    for secret in (ARGUMENT, hub.token, token, token.rpartition("_")[2]):
        assert secret.encode() not in kept, secret


@pytest.mark.parametrize("path", ["/api/calls?limit='", "/api/calls?before=x", "/api/none", "/x"])
def test_a49_an_error_says_nothing_of_the_hubs_inside(hub, path):
    status, problem = hub.ask("GET", path)
    assert status in {400, 404}
    assert problem["request_id"]
    words = json.dumps(problem)
    for leak in ("Traceback", ".py", "SELECT", "sqlite", "site-packages", str(hub.home)):
        assert leak not in words, leak


def test_a54_files_are_their_owners_alone(hub):
    assert stat.S_IMODE(hub.home.stat().st_mode) == 0o700
    files = [file for file in hub.home.rglob("*") if file.is_file()]
    assert {"admin-token", "hub.json"} <= {file.name for file in files}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    database = next(file for file in files if file.suffix == ".db")
    assert sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute("select 1").fetchone()
