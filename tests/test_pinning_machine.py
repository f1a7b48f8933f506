"""The life of definitions against a model: what a server lists, what is approved, and restarts.

The model knows for each tool which version was approved; all else follows from that.
"""

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.fake_upstream import tool

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.errors import ToolChanged
from agenthub.domain.pinning import Standing
from agenthub.listing import Guise, Kind, Listing
from agenthub.offer import Offer

NAMES = ("add", "mail", "sub")
VERSIONS = st.integers(0, 5)


class Clock:
    def now(self):
        return 0

    def wall(self):
        return 0


def hints(version):
    return {"readOnlyHint": version % 2 == 1, "idempotentHint": version in {1, 2, 4}}


def definition(name, version):
    return tool(name, description=f"version {version}", annotations=hints(version))


class Life(RuleBasedStateMachine):
    @initialize(trust=st.booleans(), pinning=st.sampled_from(["allow", "flag", "quarantine"]))
    def begin(self, trust, pinning):
        self.settings = {"trust": trust, "pinning": pinning}
        self.offer = Offer(self.endpoint(), 0)
        self.listed, self.approved, self.looked = {}, {}, {}
        self.kept = (None, {})
        """What the database has: the lists, and the pins."""

    def endpoint(self):
        return Endpoint("a", url="http://x/", **self.settings)

    def listing(self):
        return Listing(tools=[definition(n, v) for n, v in sorted(self.listed.items())])

    @rule(listed=st.dictionaries(st.sampled_from(NAMES), VERSIONS), written=st.booleans())
    def lists(self, listed, written):
        """Lists and pins are written together, or not at all, for the hub was killed before."""
        self.listed = listed
        if not self.approved or self.settings["trust"] or self.settings["pinning"] == "allow":
            self.approved = listed | self.approved
        self.offer.take(self.listing(), 0)
        fresh = self.offer.pin()
        if written:
            self.kept = (self.offer.listing, {**self.kept[1], **fresh})
        else:
            self.killed()

    def killed(self):
        """Start anew with what the database has."""
        listing, pins = self.kept
        self.offer = Offer(self.endpoint(), 0)
        self.offer.restore(listing, pins, Clock())
        tools = [] if listing is None else [json.loads(bytes(one)) for one in listing.tools]
        version = lambda found: int(found["description"].split()[1])  # noqa: E731
        self.listed = {found["name"]: version(found) for found in tools}
        self.approved = {n: version(json.loads(pin.definition)) for n, pin in pins.items()}
        self.looked = {}

    @rule()
    def restarts(self):
        self.killed()

    @rule(trust=st.booleans(), pinning=st.sampled_from(["allow", "flag", "quarantine"]))
    def gets_other_settings(self, trust, pinning):
        self.settings = {"trust": trust, "pinning": pinning}
        self.offer.reconfigure(self.endpoint())

    @rule()
    def is_looked_at(self):
        pending = self.offer.pending_tools()
        self.looked = {one.name: (self.listed[one.name], one.now.digest) for one in pending}

    @precondition(lambda self: self.looked)
    @rule(data=st.data(), written=st.booleans())
    def is_approved(self, data, written):
        name = data.draw(st.sampled_from(sorted(self.looked)))
        version, digest = self.looked[name]
        if self.listed.get(name, version) != version:
            try:
                self.offer.look({name: digest})
            except ToolChanged:
                return
            raise AssertionError("what was approved was not looked at")
        if name not in self.listed or not written:
            return  # the write failed: nothing has changed
        pins = self.offer.look({name: digest})
        self.kept = (self.kept[0], {**self.kept[1], **pins})
        self.offer.approve(pins)
        self.approved[name] = version

    # ------------------------------------------------------------ what always holds

    def standing(self, name):
        if name not in self.approved:
            return Standing.NEW
        same = self.approved[name] == self.listed[name]
        return Standing.APPROVED if same else Standing.CHANGED

    def waits(self, name):
        if self.settings["pinning"] == "allow" or self.standing(name) is Standing.APPROVED:
            return False
        return self.standing(name) is Standing.CHANGED or not self.settings["trust"]

    @invariant()
    def who_waits_is_who_is_not_as_approved(self):
        waiting = {name: self.standing(name) for name in self.listed if self.waits(name)}
        assert self.offer.pending == waiting
        withheld = waiting if self.settings["pinning"] == "quarantine" else ()
        assert self.offer.withheld == frozenset(withheld)

    @invariant()
    def nothing_that_is_withheld_is_offered(self):
        shown = json.loads(b"[%b]" % self.offer.rendered(Kind.TOOLS, Guise("", "")))
        assert [one["name"] for one in shown] == [
            name for name in sorted(self.listed) if name not in self.offer.withheld
        ]
        for one in shown:
            assert one["description"] == f"version {self.listed[one['name']]}"

    @invariant()
    def no_hint_is_heard_that_was_not_approved(self):
        """R30."""
        for name, version in self.listed.items():
            heard = self.offer.facts(name).heard
            for hint in ("readOnlyHint", "idempotentHint"):
                if heard.get(hint) is True:
                    assert hints(self.approved[name])[hint]
                    assert hints(version)[hint]


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
