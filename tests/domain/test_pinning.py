import pytest

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.pinning import Pin, Standing, approves_new, heard, standing, withholds


@pytest.mark.parametrize(
    ("pin", "is_now"),
    [(None, Standing.NEW), (Pin(b"1"), Standing.APPROVED), (Pin(b"2"), Standing.CHANGED)],
)
def test_a_definition_is_compared_by_its_digest(pin, is_now):
    assert standing(pin, b"1") is is_now


@pytest.mark.parametrize(
    ("trust", "pinning", "new_is_approved", "withheld"),
    [
        (False, "quarantine", False, True), (True, "quarantine", True, True),
        (False, "flag", False, False), (True, "flag", True, False),
        (False, "allow", True, False), (True, "allow", True, False),
    ],
)  # fmt: skip
def test_what_settings_make_of_it(trust, pinning, new_is_approved, withheld):
    endpoint = Endpoint("a", url="http://x/", trust=trust, pinning=pinning)
    assert (approves_new(endpoint), withholds(endpoint)) == (new_is_approved, withheld)


def test_quarantine_is_what_nobody_has_to_choose():
    assert withholds(Endpoint("a", url="http://x/"))


@pytest.mark.parametrize(
    ("approved", "now", "both"),
    [({"a": True}, {"a": True, "b": True}, {"a": True}), ({"a": True}, {"a": False}, {}),
     ({"a": 1}, {"a": True}, {}), ({"a": True}, {"a": 1}, {}), ({}, {}, {})],
)  # fmt: skip
def test_a_hint_is_heard_if_it_was_approved_and_is_still_given(approved, now, both):
    assert heard(approved, now) == both
