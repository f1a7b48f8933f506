"""The token that a caller came in with shows itself to nobody (A25)."""

import msgspec
import pytest

from agenthub.domain.bearer import Lent, with_subject
from agenthub.domain.caller import Caller
from agenthub.domain.subject import RIGHTS, Subject, rights_of


def test_it_is_in_no_text_and_on_no_wire_unless_it_is_asked_for():
    subject = Subject("the-token", "r", 7)
    caller = Caller("anna", frozenset(), subject=subject)
    assert "the-token" not in f"{subject} {subject!r} {caller!r}"
    for encode in (msgspec.json.encode, msgspec.to_builtins):
        with pytest.raises(TypeError):
            encode(caller)
    assert subject.reveal() == "the-token"


@pytest.mark.parametrize("claim", RIGHTS)
def test_tokens_that_are_good_for_other_things_have_other_rights(claim):
    assert rights_of({claim: "a"}) != rights_of({claim: "b"})
    assert rights_of({claim: "a"}) != rights_of({})
    assert rights_of({"jti": "1", "exp": 1, claim: ["a"]}) == rights_of({claim: ["a"], "exp": 2})


def test_a_caller_has_its_token_for_as_long_as_that_lasts():
    lent = with_subject(Lent(Caller("anna", frozenset()), 9), {"scope": "x"}, b"a.b.c")
    subject = lent.caller.subject
    assert (subject.reveal(), subject.ends) == ("a.b.c", 9)
    assert subject.rights == rights_of({"scope": "x"})
