import json

import pytest
from msgspec import Raw
from support.fake_upstream import tool
from support.virtual_time import LoopClock, virtual_time

from agenthub import offer as offers
from agenthub.domain.alias import SAFE, alias
from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import ToolChanged, UnknownTarget
from agenthub.domain.pinning import Pin, Standing
from agenthub.domain.span import SECOND
from agenthub.listing import Guise, Kind, Listing, pin_of
from agenthub.offer import RENDERED_MAX, Offer

READS = {"readOnlyHint": True}


def endpoint(**more):
    return Endpoint("calc", url="http://x/", **more)


def new(now=0, **more):
    return Offer(endpoint(**more), now)


def approved(*tools, **more):
    """An offer whose first list was this."""
    made = new(**more)
    made.take(Listing(tools=list(tools)), 0)
    made.pin()
    return made


def then(offer, *tools):
    """What comes later."""
    offer.take(Listing(tools=list(tools)), 1)
    return offer.pin()


def prompts(*names):
    return [Raw(json.dumps({"name": name}).encode()) for name in names]


def test_at_first_nothing_is_known():
    offer = new(7)
    assert offer.good_at == 7
    assert offer.listing is None
    assert offer.facts("add") is None
    assert offer.rendered(Kind.TOOLS, Guise("", "")) == b""
    assert offer.pin() == {}


def test_taking_lists_says_which_are_others_than_before():
    offer = new()
    first = Listing(tools=[tool("add")], prompts=prompts("hi"))
    assert offer.take(first, 1) == {Kind.TOOLS, Kind.PROMPTS}
    assert offer.take(Listing(tools=[tool("add")], prompts=prompts("hi")), 2) == frozenset()
    assert offer.take(Listing(tools=[tool("add")], prompts=prompts("ho")), 3) == {Kind.PROMPTS}
    assert offer.good_at == 3


def test_facts_and_renderings_are_those_of_the_lists_that_are_there():
    offer = approved(tool("add"), trust=True)
    assert offer.facts("add") is offer.facts("add")
    assert offer.facts("sub") is None
    assert b"add" in offer.rendered(Kind.TOOLS, Guise("", ""))
    then(offer, tool("sub"))
    assert offer.facts("add") is None
    assert offer.facts("sub") is not None
    assert b"add" not in offer.rendered(Kind.TOOLS, Guise("", ""))


def test_a_rendering_is_made_once_for_each_way_to_show_it():
    offer = approved(tool("add"))
    plain = offer.rendered(Kind.TOOLS, Guise("", ""))
    assert offer.rendered(Kind.TOOLS, Guise("", "")) is plain
    assert b"calc__add" in offer.rendered(Kind.TOOLS, Guise("calc", ""))
    assert b"circuit open" in offer.rendered(Kind.TOOLS, Guise("", "circuit open"))
    assert offer.rendered(Kind.PROMPTS, Guise("", "")) == b""


def test_a_server_that_fails_in_ever_new_words_takes_no_memory_without_end():
    offer = approved(tool("add"))
    for number in range(100):
        offer.rendered(Kind.TOOLS, Guise("", f"problem {number}"))
        assert len(offer._rendered) <= RENDERED_MAX
    assert b"problem 99" in offer.rendered(Kind.TOOLS, Guise("", "problem 99"))


# ---------------------------------------------------------------- approval


def offered(offer):
    listed = [
        one["name"] for one in json.loads(b"[%b]" % offer.rendered(Kind.TOOLS, Guise("", "")))
    ]
    assert listed == [one.name for one in offer.tools()], "everywhere the same"
    return listed


def test_what_is_first_seen_is_approved():
    offer = new()
    offer.take(Listing(tools=[tool("add"), tool("sub")]), 0)
    before = offer.facts("add")
    assert offer.pin() == {"add": pin_of(tool("add")), "sub": pin_of(tool("sub"))}
    assert offer.facts("add") is not before, "facts are made anew, with the pin"
    assert offer.pin() == {}
    assert (offer.pending, offered(offer)) == ({}, ["add", "sub"])


def test_what_changed_and_what_is_new_waits_and_is_in_no_list():
    offer = approved(tool("add"), tool("sub"))
    assert then(offer, tool("add"), tool("mail"), tool("sub", title="t")) == {}
    assert offer.pending == {"mail": Standing.NEW, "sub": Standing.CHANGED}
    assert offer.withheld == {"mail", "sub"}
    assert offered(offer) == ["add"]
    assert b"mail" not in offer.rendered(Kind.TOOLS, Guise("calc", "circuit open"))


def test_a_tool_that_goes_back_to_what_was_approved_waits_no_longer():
    offer = approved(tool("add"), tool("sub"))
    then(offer, tool("add", title="t"))
    assert offered(offer) == []
    then(offer, tool("add"), tool("sub"))
    assert (offer.pending, offered(offer)) == ({}, ["add", "sub"])


def test_a_trusted_servers_new_tools_are_approved_and_its_changed_ones_are_not():
    offer = approved(tool("add"), trust=True)
    assert list(then(offer, tool("add", title="t"), tool("mail"))) == ["mail"]
    assert (offer.pending, offered(offer)) == ({"add": Standing.CHANGED}, ["mail"])


def test_what_is_flagged_is_used_and_waits():
    offer = approved(tool("add"), pinning="flag")
    assert then(offer, tool("add", title="t"), tool("mail")) == {}
    assert offer.pending == {"add": Standing.CHANGED, "mail": Standing.NEW}
    assert (offer.withheld, offered(offer)) == (frozenset(), ["add", "mail"])
    assert [tool.standing for tool in offer.tools()] == [Standing.CHANGED, Standing.NEW]


def test_what_is_allowed_is_used_and_waits_for_nobody_but_a_change_moves_no_pin():
    offer = approved(tool("add"), pinning="allow")
    assert list(then(offer, tool("add", annotations=READS), tool("mail"))) == ["mail"]
    assert (offer.pending, offered(offer)) == ({}, ["add", "mail"])
    assert offer.facts("add").heard == {}
    offer.reconfigure(endpoint())
    assert (offer.pending, offered(offer)) == ({"add": Standing.CHANGED}, ["mail"])


def test_other_settings_judge_at_once():
    offer = approved(tool("add"))
    then(offer, tool("add"), tool("mail"))
    for settings, seen in (
        ({"pinning": "flag"}, ["add", "mail"]), ({}, ["add"]), ({"trust": True}, ["add", "mail"]),
    ):  # fmt: skip
        offer.reconfigure(endpoint(**settings))
        assert offered(offer) == seen
    assert list(offer.pin()) == ["mail"]
    offer.reconfigure(endpoint())
    assert offered(offer) == ["add", "mail"], "it is pinned now"


def test_what_was_looked_at_is_approved_and_nothing_else():
    offer = approved(tool("add"))
    then(offer, tool("add", annotations=READS))
    (waiting,) = offer.pending_tools()
    assert (waiting.name, waiting.standing, waiting.withheld) == ("add", Standing.CHANGED, True)
    assert (waiting.approved, waiting.now) == (
        pin_of(tool("add")), pin_of(tool("add", annotations=READS)),
    )  # fmt: skip
    pins = offer.look({"add": waiting.now.digest})
    then(offer, tool("add", annotations=READS, title="and more"))
    with pytest.raises(ToolChanged, match="looked at"):
        offer.look({"add": waiting.now.digest})
    offer.approve(pins)
    assert offered(offer) == [], "another came in between"
    then(offer, tool("add", annotations=READS))
    assert (offered(offer), offer.facts("add").heard) == (["add"], READS)
    with pytest.raises(UnknownTarget):
        offer.look({"add": waiting.now.digest, "x" * 200: b""})


def test_of_a_new_tool_nothing_was_approved():
    offer = approved(tool("add"))
    then(offer, tool("add"), tool("mail"))
    (waiting,) = offer.pending_tools()
    assert (waiting.name, waiting.approved) == ("mail", None)


@virtual_time()
async def test_a_pin_without_its_text_gets_it_when_the_tool_is_seen_unchanged():
    add, sub = pin_of(tool("add")), pin_of(tool("sub"))
    offer = new()
    offer.restore(None, {"add": Pin(add.digest), "sub": Pin(sub.digest)}, LoopClock())
    assert then(offer, tool("add"), tool("sub", title="t")) == {"add": add}
    assert then(offer, tool("add"), tool("sub", title="t")) == {}
    assert offered(offer) == ["add"]


@virtual_time()
async def test_pins_count_without_lists():
    offer = new()
    offer.restore(None, {"add": pin_of(tool("add"))}, LoopClock())
    assert offer.listing is None
    then(offer, tool("add", title="t"), tool("mail"))
    assert offered(offer) == []


def test_a_server_with_ever_new_tools_takes_no_memory_without_end(monkeypatch):
    monkeypatch.setattr(offers, "PINS_MAX", 3)
    offer = approved(tool("a"), tool("b"), trust=True)
    assert list(then(offer, tool("c"), tool("d", annotations=READS))) == ["c"]
    assert then(offer, tool("d", annotations=READS)) == {}
    assert offered(offer) == ["d"]
    assert offer.facts("d").heard == {}
    offer.approve({name: pin_of(tool(name)) for name in "xyz"})
    assert then(offer, *map(tool, "efgh")) == {}


def test_what_is_odd_is_told_and_what_nobody_would_see_is_not_offered():
    offer = approved(tool("add", description="adds\u200b"), tool("sub"), pinning="flag")
    add, sub = offer.tools()
    assert (add.suspicions, sub.suspicions) == (("hidden_characters",), ())
    assert json.loads(add.definition)["description"] == "adds"
    assert offer.tools()[0].suspicions is add.suspicions, "found once"
    then(offer, tool("add", description="adds"))
    assert offer.tools()[0].suspicions == ()


def test_instructions_of_a_server_are_offered_as_they_can_be_seen():
    offer = new()
    assert offer.instructions == ""
    offer.take(Listing(instructions="Use it.<!-- and send -->\u202e"), 0)
    assert (offer.instructions, offer.listing.instructions[-1]) == ("Use it. ", "\u202e")


@virtual_time()
async def test_what_was_kept_is_as_old_as_it_is():
    clock = LoopClock()
    offer = new(clock.now())
    kept = Listing(tools=[tool("add")], listed_at_s=clock.wall() // SECOND - 3600)
    offer.restore(kept, {"add": Pin(b"another")}, clock)
    assert offer.good_at == clock.now() - 3600 * SECOND
    assert offer.pending == {"add": Standing.CHANGED}
    in_future = Listing(listed_at_s=clock.wall() // SECOND + 3600)
    offer.restore(in_future, {}, clock)
    assert offer.good_at == clock.now()


@virtual_time()
async def test_what_is_still_good_is_noted_in_what_is_kept():
    clock = LoopClock()
    offer = new()
    assert not offer.still_good(clock)
    assert offer.good_at == clock.now()
    offer.take(Listing(tools=[tool("add")]), 0)
    assert offer.still_good(clock)
    assert offer.listing.listed_at_s == clock.wall() // SECOND
    assert offer.listing.tools == [tool("add")]


def test_items_are_shown_one_by_one_for_who_is_not_shown_all():
    offer = approved(tool("add"), tool("sub.x"))
    guise = Guise("calc", "")
    items = offer.items(Kind.TOOLS, guise)
    assert [name for name, _ in items] == ["add", "sub.x"]
    assert b",".join(item for _, item in items) == offer.rendered(Kind.TOOLS, guise)
    assert offer.items(Kind.TOOLS, guise) is items
    then(offer, tool("add"))
    assert [name for name, _ in offer.items(Kind.TOOLS, guise)] == ["add"]
    for number in range(100):
        offer.items(Kind.TOOLS, Guise("", f"problem {number}"))
        assert len(offer._each) <= RENDERED_MAX
    assert new().items(Kind.TOOLS, guise) == []


def test_an_alias_leads_to_its_tool_and_nothing_else_does():
    offer = approved(tool("add"), tool("sub.x"))
    shown = alias("calc__sub.x", SAFE)
    assert offer.aliased(shown) == "sub.x"
    assert offer.aliased("x" + shown) is None
    assert offer.aliased(alias("calc__add.x", SAFE)) is None
    then(offer, tool("add"))
    assert offer.aliased(shown) is None
