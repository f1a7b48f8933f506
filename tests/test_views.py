"""The views of a hub: kept, changed at run time, and told."""

import pytest
from msgspec import structs
from support.fake_store import FakeStore

from agenthub import views as module
from agenthub.domain.caller import Caller, KeyTerms, Scope, reach_of
from agenthub.domain.errors import BadSetting, Conflict, StorageFailed, UnknownTarget
from agenthub.domain.events import ViewChanged
from agenthub.domain.view import View
from agenthub.views import Views

WEB = View("web", allow=("web__*",))
OTHER = structs.replace(WEB, instructions="other")
ANNA = Caller("anna", frozenset({Scope.TOOLS}))


class Clock:
    def wall(self):
        return 7_000_000


class Events(list):
    event = list.append


class Lab:
    def __init__(self):
        self.store = FakeStore()
        self.events = Events()
        self.views = Views(self.store, Clock(), self.events)
        self.told = []
        self.views.listeners.append(lambda: self.told.append(dict(self.views.all)))

    def states(self):
        assert all(event == ViewChanged(7, event.view, event.state) for event in self.events)
        return [(event.view, event.state) for event in self.events]


@pytest.fixture
def lab():
    return Lab()


async def test_a_view_comes_changes_and_goes_and_each_is_kept_and_told(lab):
    await lab.views.add(WEB)
    assert (lab.views.get("web"), lab.store.views) == (WEB, {"web": WEB})
    await lab.views.replace(OTHER)
    await lab.views.replace(OTHER)
    assert lab.store.views == {"web": OTHER}
    await lab.views.remove("web")
    assert (lab.views.all, lab.store.views) == ({}, {})
    assert lab.states() == [("web", "added"), ("web", "changed"), ("web", "removed")]
    assert lab.told == [{"web": WEB}, {"web": OTHER}, {}]


async def test_what_cannot_be_changes_nothing(lab):
    await lab.views.add(WEB)
    with pytest.raises(Conflict):
        await lab.views.add(OTHER)
    with pytest.raises(UnknownTarget):
        await lab.views.replace(structs.replace(WEB, name="none"))
    with pytest.raises(UnknownTarget):
        await lab.views.remove("none")
    for change in (lab.views.add, lab.views.replace):
        with pytest.raises(BadSetting):
            await change(View("web"))
    lab.store.broken = True
    with pytest.raises(StorageFailed):
        await lab.views.replace(OTHER)
    with pytest.raises(StorageFailed):
        await lab.views.remove("web")
    assert (lab.views.all, len(lab.events)) == ({"web": WEB}, 1)


async def test_there_are_not_without_end_many(lab, monkeypatch):
    monkeypatch.setattr(module, "VIEWS_MAX", 1)
    await lab.views.add(WEB)
    with pytest.raises(Conflict, match="1 views already"):
        await lab.views.add(structs.replace(WEB, name="more"))


async def test_the_file_stands_before_what_is_kept_as_long_as_it_names_it(lab):
    lab.views.load([WEB])
    await lab.views.reload({"web": OTHER, "more": View("more", allow=("*",))}, "a.yaml")
    assert lab.views.get("web") == OTHER
    for change in (lab.views.replace(WEB), lab.views.remove("web")):
        with pytest.raises(Conflict, match="configured in a"):
            await change
    await lab.views.reload({}, "a.yaml")
    assert lab.views.all == {"web": WEB}
    assert lab.states() == [
        ("web", "added"), ("more", "added"), ("web", "changed"), ("more", "removed"),
        ("web", "changed"),
    ]  # fmt: skip


async def test_who_enters_a_view_is_held_to_it(lab):
    await lab.views.add(WEB)
    assert lab.views.enter("web", ANNA).reach.views == {"web": WEB.tools}
    assert lab.views.enter("none", ANNA) is None


async def test_a_view_that_a_key_may_not_see_is_not_there_for_it(lab):
    await lab.views.add(WEB)
    reach = reach_of(KeyTerms(views=("docs",)), lab.views.all)
    assert lab.views.enter("web", structs.replace(ANNA, reach=reach)) is None
