import json

from msgspec import Raw
from support.fake_upstream import tool
from support.virtual_time import LoopClock, virtual_time

from agenthub.domain.span import SECOND
from agenthub.listing import Kind, Listing
from agenthub.offer import RENDERED_MAX, Offer


def prompts(*names):
    return [Raw(json.dumps({"name": name}).encode()) for name in names]


def test_at_first_nothing_is_known():
    offer = Offer(7)
    assert offer.good_at == 7
    assert offer.listing is None
    assert offer.facts("add") is None
    assert offer.rendered(Kind.TOOLS, "", "") == b""
    assert offer.pin() == {}


def test_taking_lists_says_which_are_others_than_before():
    offer = Offer(0)
    first = Listing(tools=[tool("add")], prompts=prompts("hi"))
    assert offer.take(first, 1) == {Kind.TOOLS, Kind.PROMPTS}
    assert offer.take(Listing(tools=[tool("add")], prompts=prompts("hi")), 2) == frozenset()
    assert offer.take(Listing(tools=[tool("add")], prompts=prompts("ho")), 3) == {Kind.PROMPTS}
    assert offer.good_at == 3


def test_facts_and_renderings_are_those_of_the_lists_that_are_there():
    offer = Offer(0)
    offer.take(Listing(tools=[tool("add")]), 0)
    assert offer.facts("add") is offer.facts("add")
    assert offer.facts("sub") is None
    assert b"add" in offer.rendered(Kind.TOOLS, "", "")
    offer.take(Listing(tools=[tool("sub")]), 0)
    assert offer.facts("add") is None
    assert offer.facts("sub") is not None
    assert b"add" not in offer.rendered(Kind.TOOLS, "", "")


def test_a_rendering_is_made_once_for_each_way_to_show_it():
    offer = Offer(0)
    offer.take(Listing(tools=[tool("add")]), 0)
    plain = offer.rendered(Kind.TOOLS, "", "")
    assert offer.rendered(Kind.TOOLS, "", "") is plain
    assert b"calc__add" in offer.rendered(Kind.TOOLS, "calc", "")
    assert b"circuit open" in offer.rendered(Kind.TOOLS, "", "circuit open")
    assert offer.rendered(Kind.PROMPTS, "", "") == b""


def test_a_server_that_fails_in_ever_new_words_takes_no_memory_without_end():
    offer = Offer(0)
    offer.take(Listing(tools=[tool("add")]), 0)
    for number in range(100):
        offer.rendered(Kind.TOOLS, "", f"problem {number}")
        assert len(offer._rendered) <= RENDERED_MAX
    assert b"problem 99" in offer.rendered(Kind.TOOLS, "", "problem 99")


def test_a_tool_is_pinned_as_it_was_first_seen():
    offer = Offer(0)
    offer.take(Listing(tools=[tool("add")]), 0)
    before = offer.facts("add")
    assert list(offer.pin()) == ["add"]
    assert offer.facts("add") is not before, "facts are made anew, with the pin"
    assert offer.pin() == {}
    offer.take(Listing(tools=[tool("add", annotations={"readOnlyHint": True}), tool("b")]), 0)
    assert list(offer.pin()) == ["b"]
    assert not offer.facts("add").pinned
    assert offer.facts("b").pinned


@virtual_time()
async def test_what_was_kept_is_as_old_as_it_is():
    clock = LoopClock()
    offer = Offer(clock.now())
    kept = Listing(tools=[tool("add")], listed_at_s=clock.wall() // SECOND - 3600)
    offer.restore(kept, {"add": b"another"}, clock)
    assert offer.good_at == clock.now() - 3600 * SECOND
    assert not offer.facts("add").pinned
    in_future = Listing(listed_at_s=clock.wall() // SECOND + 3600)
    offer.restore(in_future, {}, clock)
    assert offer.good_at == clock.now()


@virtual_time()
async def test_what_is_still_good_is_noted_in_what_is_kept():
    clock = LoopClock()
    offer = Offer(0)
    assert not offer.still_good(clock)
    assert offer.good_at == clock.now()
    offer.take(Listing(tools=[tool("add")]), 0)
    assert offer.still_good(clock)
    assert offer.listing.listed_at_s == clock.wall() // SECOND
    assert offer.listing.tools == [tool("add")]
