"""What a passage hears when there is nothing left to do about it."""

from types import SimpleNamespace

from agenthub.domain.errors import Overloaded
from agenthub.passage import USED, Passage


def test_what_a_model_has_used_is_no_news_where_nobody_keeps_a_bill():
    heard = []
    known = SimpleNamespace(
        call=SimpleNamespace(content=b"{}"), bill=None, _cause=None, _receiver=heard, _cut=None
    )
    Passage.notified(known, USED, b"12")
    assert not heard


def test_a_call_that_is_over_is_not_cut():
    over = SimpleNamespace(_over=True, _cause=None, _refusal=None, cancel=None)
    Passage._cut(over, Overloaded("late"))
    assert over._refusal is None
