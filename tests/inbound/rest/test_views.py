import msgspec
import pytest
from msgspec import structs
from support.rest_hub import LIMITED, READER, USER, RestServer

from agenthub.domain.caller import KeyTerms, reach_of
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.tool_set import ToolSet
from agenthub.domain.view import Renamed, View

VIEWS, KEYS = "/api/views", "/api/keys"
WEB = {"name": "web", "allow": ["web__*"], "names": {"find": {"target": "web__search"}}}


def limited(caller, hub, **terms):
    return structs.replace(caller, reach=reach_of(KeyTerms(**terms), hub.catalog.views.all))


async def test_a_view_is_added_shown_replaced_and_removed(rest, hub):
    made = await rest.post(VIEWS, WEB)
    assert (made.status_code, made.headers["location"]) == (201, "/api/views/web")
    assert made.json() == WEB
    assert hub.catalog.views.get("web") == View(
        "web", names={"find": Renamed("web__search")}, allow=("web__*",)
    )
    assert (await rest.get(VIEWS, as_=READER)).json() == {"views": [WEB]}
    assert (await rest.get(f"{VIEWS}/web", as_=READER)).json() == WEB
    changed = await rest.put(f"{VIEWS}/web", {"allow": ["docs__*"]})
    assert changed.json() == {"name": "web", "allow": ["docs__*"]}
    assert (await rest.post(VIEWS, WEB)).status_code == 409
    assert (await rest.delete(f"{VIEWS}/web")).status_code == 204
    assert hub.catalog.views.all == {}
    for ask in (rest.get, rest.delete):
        assert (await ask(f"{VIEWS}/web")).status_code == 404
    assert (await rest.put(f"{VIEWS}/web", {"allow": ["*"]})).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "name"),
        ({"name": "a__b", "allow": ["*"]}, "name"),
        ({"name": "v"}, "allow"),
        ({"name": "v", "allow": "x"}, "allow"),
        ({"name": "v", "allow": ["*"], "search": "yes"}, "search"),
        ({"name": "v", "allow": ["*"], "more": 1}, "more"),
        ({"name": "v", "names": {"x": {"target": "y"}}}, "names.x.target"),
    ],
)
async def test_a_view_that_cannot_be_is_refused_naming_the_field(rest, hub, body, words):
    answer = await rest.post(VIEWS, body)
    assert (answer.status_code, hub.catalog.views.all) == (400, {})
    assert words in answer.json()["detail"]


async def test_a_limited_key_sees_its_views_and_changes_none(rest, hub):
    for name in ("docs", "web"):
        await rest.post(VIEWS, {"name": name, "allow": [f"{name}__*"]})
    key = limited(READER, hub, views=("web",))
    assert [v["name"] for v in (await rest.get(VIEWS, as_=key)).json()["views"]] == ["web"]
    assert (await rest.get(f"{VIEWS}/web", as_=key)).status_code == 200
    hidden = await rest.get(f"{VIEWS}/docs", as_=key)
    nothing = await rest.get(f"{VIEWS}/none", as_=key)
    assert hidden.status_code == nothing.status_code == 404
    assert hidden.json()["detail"].replace("docs", "none") == nothing.json()["detail"]
    assert (await rest.post(VIEWS, {"name": "v", "allow": ["*"]}, as_=LIMITED)).status_code == 403


async def test_a_limited_key_is_shown_the_tools_that_it_may_touch(rest, hub):
    tools = [
        msgspec.json.encode({"name": name, "inputSchema": {"type": "object"}})
        for name in ("add", "sub")
    ]
    hub.catalog.all["calculator"] = RestServer(Endpoint("calculator", url="http://c.test/"), tools)
    hub.catalog.all["calculator"].reading = {"sub"}

    async def names(**terms):
        answer = await rest.get("/api/tools", as_=limited(USER, hub, **terms))
        return [f"{tool['endpoint']} {tool['name']}" for tool in answer.json()["tools"]]

    assert await names(tools=ToolSet(("calculator__a*",))) == ["calculator add"]
    assert await names(tools=ToolSet(deny=("*__add",))) == ["calculator sub"]
    assert await names(tools=ToolSet(read_only=True)) == ["calculator sub"]


async def test_what_concerns_the_whole_hub_is_not_for_a_key_with_limits(rest, hub):
    key = limited(READER, hub, tools=ToolSet(("calculator__*",)))
    hub.health.reasons_ = ("x",)
    assert (await rest.get("/metrics", as_=key)).status_code == 403
    assert (await rest.get("/api/check", as_=key)).json()["reasons"] == []
    shown = (await rest.get("/api/endpoints", as_=key)).json()["endpoints"]
    assert [one["name"] for one in shown] == ["calculator"]


async def test_a_key_gets_terms_when_it_is_made_and_other_ones_later(rest, hub):
    await rest.post(VIEWS, WEB)
    terms = {"tools": {"allow": ["web__*"], "read_only": True}, "views": ["web"], "search": "auto"}
    made = await rest.post(KEYS, {"name": "k", "terms": terms})
    assert made.json()["terms"] == terms
    changed = await rest.put(f"{KEYS}/k0/terms", {"names": "spec"})
    assert changed.json()["terms"] == {"names": "spec"}
    assert "secret" not in changed.text
    assert hub.keys.rows["k0"].terms == KeyTerms(names="spec")
    assert (await rest.put(f"{KEYS}/none/terms", {})).status_code == 404


@pytest.mark.parametrize("terms", [
    {"views": ["none"]}, {"tools": {"allow": "x"}}, {"more": 1}, {"tools": {"more": 1}}, [],
])  # fmt: skip
async def test_terms_that_cannot_be_are_refused(rest, hub, terms):
    assert (await rest.post(KEYS, {"name": "k", "terms": terms})).status_code in {400, 404}
    assert hub.keys.rows == {}
    await rest.post(KEYS, {"name": "k"})
    assert (await rest.put(f"{KEYS}/k0/terms", terms)).status_code in {400, 404}
    assert hub.keys.rows["k0"].terms == KeyTerms()
