import pytest
from msgspec import Raw
from support.rest_hub import LIMITED, READER, RestServer

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.pinning import Pin, Standing
from agenthub.listing import pin_of
from agenthub.offer import PendingTool

PENDING, APPROVE = "/api/tools/pending", "/api/tools/approve"
OLD = pin_of(Raw(b'{"name":"add","description":"Adds.","inputSchema":{"type":"object"}}'))
NOW = pin_of(
    Raw('{"name":"add","description":"Mails\u202e.","inputSchema":{"type":"object"}}'.encode())
)
DIGEST = NOW.digest.hex()


def waits(name="add", approved=OLD, standing=Standing.CHANGED, *, withheld=True):
    return PendingTool(name, standing, withheld, approved, NOW)


@pytest.fixture
def waiting(hub):
    hub.catalog.all["calculator.fallback"] = RestServer(
        Endpoint("calculator.fallback", url="http://x")
    )
    hub.catalog.all["calculator.fallback"].waiting = [waits()]
    hub.catalog.all["calculator"].waiting = [waits("sub", None, Standing.NEW), waits()]
    hub.catalog.all["other"].waiting = [waits(approved=Pin(b"x"), withheld=False)]
    return hub


def names(answer):
    assert answer.status_code == 200, answer.text
    return [(one["endpoint"], one["name"]) for one in answer.json()["pending"]]


async def test_what_waits_is_shown_with_what_is_other(rest, waiting):
    answer = await rest.get(PENDING, as_=READER)
    assert names(answer) == [
        ("calculator", "add"), ("calculator", "sub"), ("calculator.fallback", "add"),
        ("other", "add"),
    ]  # fmt: skip
    add, sub, _, other = answer.json()["pending"]
    assert add.pop("diff").splitlines()[2:] == [
        "@@ -1,5 +1,5 @@", " name: add", "-description: Adds.", "+description: Mails\\u202e.",
        " inputSchema: {", '     "type": "object"', "   }",
    ]  # fmt: skip
    assert add == {
        "endpoint": "calculator", "name": "add", "standing": "changed", "withheld": True,
        "digest": DIGEST, "suspicions": ["hidden_characters"],
        "approved": {"name": "add", "description": "Adds.", "inputSchema": {"type": "object"}},
        "definition": {
            "name": "add", "description": "Mails\u202e.", "inputSchema": {"type": "object"}
        },
    }  # fmt: skip
    assert (sub["standing"], sub["approved"]) == ("new", None)
    assert (other["withheld"], other["approved"]) == (False, None)


async def test_a_servers_own_and_those_of_its_fallback(rest, waiting):
    ours = [("calculator", "add"), ("calculator", "sub"), ("calculator.fallback", "add")]
    for name in ("calculator", "calculator.fallback"):
        assert names(await rest.get(f"{PENDING}?endpoint={name}")) == ours
    assert (await rest.get(f"{PENDING}?endpoint=none")).status_code == 404


async def test_a_limited_key_sees_and_approves_what_is_its_own(rest, waiting):
    assert {endpoint for endpoint, _ in names(await rest.get(PENDING, as_=LIMITED))} == {
        "calculator", "calculator.fallback",
    }  # fmt: skip
    assert (await rest.get(f"{PENDING}?endpoint=other", as_=LIMITED)).status_code == 404
    wish = {"endpoint": "other", "tools": {"add": DIGEST}}
    assert (await rest.post(APPROVE, wish, as_=LIMITED)).status_code == 404
    assert waiting.catalog.all["other"].waiting


async def test_what_is_approved_waits_no_longer(rest, waiting):
    wish = {"endpoint": "calculator", "tools": {"add": DIGEST}}
    assert names(await rest.post(APPROVE, wish)) == [
        ("calculator", "sub"), ("calculator.fallback", "add"),
    ]  # fmt: skip
    wish = {"endpoint": "calculator.fallback", "tools": {"add": DIGEST}}
    assert names(await rest.post(APPROVE, wish)) == [("calculator", "sub")]


async def test_what_changed_once_more_is_not_approved(rest, waiting):
    wish = {"endpoint": "calculator", "tools": {"add": "00" * 32}}
    answer = await rest.post(APPROVE, wish)
    assert (answer.status_code, answer.json()["code"]) == (409, "tool_changed")
    assert len(waiting.catalog.all["calculator"].waiting) == 2


@pytest.mark.parametrize(
    "tools", [{}, {"add": "xyz"}, {"add": 5}, {"add": None}, [], "add", {"add": "é"}]
)
async def test_an_approval_names_tools_and_digests(rest, waiting, tools):
    answer = await rest.post(APPROVE, {"endpoint": "calculator", "tools": tools})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_params")


async def test_how_many_wait_is_shown_of_each_server(rest, waiting):
    assert (await rest.get("/api/endpoints/calculator")).json()["tools_pending"] == 2
