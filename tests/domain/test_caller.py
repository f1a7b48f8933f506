"""What a key opens."""

import pytest

from agenthub.domain.caller import Caller, Scope


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ([], []),
        ([Scope.TOOLS], [Scope.TOOLS]),
        ([Scope.READ], [Scope.READ]),
        ([Scope.TOOLS, Scope.READ], [Scope.TOOLS, Scope.READ]),
        ([Scope.ADMIN], list(Scope)),
    ],
)
def test_a_scope_opens_itself_and_admin_opens_all(scopes, may):
    caller = Caller("anna", frozenset(scopes))
    assert [scope for scope in Scope if caller.may(scope)] == may


def test_without_a_list_every_endpoint_is_seen():
    assert Caller("anna", frozenset()).sees("files")


def test_with_a_list_only_those_on_it():
    caller = Caller("anna", frozenset({Scope.ADMIN}), frozenset({"files"}))
    assert caller.sees("files")
    assert not caller.sees("mail")
    assert not Caller("anna", frozenset(), frozenset()).sees("files")
