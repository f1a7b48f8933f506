"""Amounts of money: exact both ways, and nothing is taken for an amount that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.errors import InvalidParams
from agenthub.domain.money import MAX, USD, parse, show


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("100", 100 * USD),
        ("100.00", 100 * USD),
        ("0.0047", 4_700_000),
        ("0.000000001", 1),
        ("100000000", MAX),
        ("99999999.999999999", MAX - 1),
    ],
)
def test_an_amount_is_read_exactly(text, amount):
    assert parse(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-1", "+1", "1e3", "nan", "Infinity", "0x10", "1_000", "1,5", ".5", "5.", "01",
        "0.0000000001", "100000000.000000001", "1000000000", "٣", "\N{FULLWIDTH DIGIT ONE}", "1\n",
        " 1", "$1",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused_in_words(text):
    with pytest.raises(InvalidParams, match=r'as "100\.00"'):
        parse(text)


def test_two_decimals_at_least_are_shown_and_none_too_many():
    assert [show(n) for n in (0, USD, USD // 2, 1, 4_700_000, -USD - 10_000_000)] == [
        "0.00", "1.00", "0.50", "0.000000001", "0.0047", "-1.01",
    ]  # fmt: skip


@given(st.integers(0, MAX))
def test_what_is_shown_can_be_read_again(amount):
    assert parse(show(amount)) == amount
