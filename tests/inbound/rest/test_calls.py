import pytest
from support.rest_hub import LIMITED
from support.store_rows import call_row

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.store import open_store
from agenthub.ports import CallFilter, CallPage


async def test_a_page_of_the_log(rest, hub):
    hub.store.page = CallPage(((9, call_row(1)), (8, call_row(0, outcome="timeout"))), 8)
    shown = (await rest.get("/api/calls?limit=2&before=10")).json()
    assert hub.store.asked == [CallFilter(before=10, limit=2)]
    assert [(c["number"], c["id"], c["outcome"]) for c in shown["calls"]] == [
        (9, "c-00000001", "ok"),
        (8, "c-00000000", "timeout"),
    ]
    assert shown["next_before"] == 8


async def test_filters(rest, hub):
    await rest.get("/api/calls?endpoint=a&outcome=ok&caller=k")
    assert hub.store.asked == [CallFilter(None, 50, "a", "ok", "k")]


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1", "limit=0", "limit=501", "limit=1e2", "limit=1;DROP TABLE call", "limit=",
        "before=0", "before=-1", "before=99999999999999999999", "before=NaN",
        "endpoint=" + "x" * 201, "sort=at_us", "order=desc; --", "limit=5&limti=6",
    ],
)  # fmt: skip
async def test_odd_parameters_are_refused_naming_them(rest, hub, query):
    """A52."""
    answer = await rest.get(f"/api/calls?{query}")
    assert (answer.status_code, hub.store.asked) == (400, [])
    assert query.rpartition("&")[2].partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "%25", "_", "x' UNION SELECT 1", '"', "%00", "%FF"]
)
async def test_filters_are_values_all_the_way_down(rest, hub, text, tmp_path):
    """A52: the real database behind the real route."""
    async with open_store(tmp_path / "home") as hub.store:
        hub.store.call_log.add(call_row(1))
        for field in ("endpoint", "outcome", "caller"):
            answer = await rest.get(f"/api/calls?{field}={text}")
            assert (answer.status_code, answer.json()) == (200, {"calls": [], "next_before": None})
        assert len((await rest.get("/api/calls")).json()["calls"]) == 1


async def test_hostile_texts_come_out_as_data(rest, hub):
    """A47."""
    name = '\n\x1b[31m%s {"a":1}\u2028</script>'
    hub.store.page = CallPage(((1, call_row(1, name=name)),), None)
    answer = await rest.get("/api/calls")
    assert answer.json()["calls"][0]["name"] == name
    assert b"\n" not in answer.content
    assert b"\x1b" not in answer.content


async def test_a_limited_key_sees_its_servers_calls(rest, hub):
    rows = ((3, call_row(3, endpoint="other")), (2, call_row(2, served_by="other")))
    hub.store.page = CallPage(rows, 2)
    shown = (await rest.get("/api/calls", as_=LIMITED)).json()
    assert [(c["number"], c["served_by"]) for c in shown["calls"]] == [(2, "another")]
    assert shown["next_before"] == 2


async def test_a_database_that_fails_is_a_problem_and_not_a_crash(rest, hub):
    hub.store.page = StorageFailed("The disk is full.")
    answer = await rest.get("/api/calls")
    assert answer.status_code == 503
    assert (answer.json()["code"], answer.json()["detail"]) == (
        "storage_failed",
        "The disk is full.",
    )
