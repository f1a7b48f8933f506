"""Costs are whole numbers, rounded up, and never fall when more is used (P7)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub.domain.errors import BadSetting
from agenthub.domain.money import MAX, USD
from agenthub.domain.price import (
    FREE,
    PER,
    RATE_MAX,
    CallPrice,
    Extra,
    Override,
    Rates,
    Tariff,
    nano_usd,
    overriding,
)
from agenthub.domain.usage import TOKENS_MAX, Usage

OPUS = Rates(
    input=4 * USD,
    output=20 * USD,
    cache_read=USD // 5,
    cache_write=5 * USD,
    cache_write_1h=8 * USD,
    web_search=USD // 100,
)
CLASSES = ("plain", "read", "short", "hour", "audio", "said", "thought", "spoken", "drawn")


def usage(*, plain, read, short, hour, audio, said, thought, spoken, drawn):
    """Of tokens by class, what each is part of."""
    return Usage(
        plain + read + short + hour + audio,
        read,
        short + hour,
        hour,
        said + thought + spoken + drawn,
        thought,
        audio,
        spoken,
    ), Extra(output_image_tokens=drawn)


money = st.integers(0, RATE_MAX)
maybe = st.none() | money
tokens = st.integers(0, TOKENS_MAX // 9)
counts = st.fixed_dictionaries(dict.fromkeys(CLASSES, tokens))


@st.composite
def rates(draw, above=0):
    entry = draw(money)
    return Rates(
        input=entry,
        output=draw(money),
        cache_read=draw(st.none() | st.integers(0, entry)),
        cache_write=draw(maybe),
        cache_write_1h=draw(maybe),
        input_audio=draw(maybe),
        output_audio=draw(maybe),
        output_image=draw(maybe),
        reasoning=draw(maybe),
        request=draw(money),
        above=above,
    )


@st.composite
def tariffs(draw):
    starts = draw(st.lists(st.integers(1, 1_000_000), max_size=3, unique=True))
    return Tariff(tuple(draw(rates(above=above)) for above in (0, *sorted(starts))))


def test_each_token_is_priced_in_its_own_class_once():
    used = Usage(1_000_000, 500_000, 200_000, 100_000, 100_000)
    expected = Decimal("0.3") * 4 + Decimal("0.5") / 5 + Decimal("0.1") * 5 + Decimal("0.1") * 8 + 2
    assert OPUS.cost(used) == int(expected * USD)


def test_a_cost_is_rounded_up_once():
    assert Rates(input=1, output=1).cost(Usage(1, output_tokens=1)) == 1
    assert Rates(input=1, output=1).cost(Usage(PER, output_tokens=1)) == 2
    assert FREE.cost(Usage(TOKENS_MAX)) == 0


def test_what_a_request_and_a_search_cost_is_added():
    asked = Rates(input=0, output=0, request=7, web_search=5)
    assert asked.cost(Usage(), Extra(web_searches=3)) == 22


def test_tokens_that_are_said_to_be_cached_and_audio_are_priced_as_cached():
    dear = Rates(input=PER, output=0, cache_read=0, input_audio=10 * PER)
    assert dear.cost(Usage(100, cache_read_tokens=90, input_audio_tokens=50)) == 100


def test_parts_of_the_output_never_add_up_to_more_than_it():
    dear = Rates(input=0, output=PER, output_image=2 * PER, output_audio=PER, reasoning=PER)
    used = Usage(0, output_tokens=10, reasoning_tokens=10, output_audio_tokens=10)
    assert dear.cost(used, Extra(output_image_tokens=10)) == 20


def test_an_hour_in_the_cache_costs_what_a_write_costs_if_it_has_no_rate():
    write = Rates(input=PER, output=0, cache_write=2 * PER)
    assert write.cost(Usage(10, 0, 10, 10)) == 20


@given(rates(), counts, st.sampled_from(CLASSES), st.integers(1, 1000))
def test_more_of_anything_never_costs_less(price, used, name, more):
    before = price.cost(*usage(**used))
    assert price.cost(*usage(**{**used, name: used[name] + more})) >= before


@given(rates(), tokens, st.data())
def test_reading_from_the_cache_never_costs_more_than_without(price, whole, data):
    read = data.draw(st.integers(0, whole))
    audio = data.draw(st.integers(0, whole))
    plain = price.cost(Usage(whole, input_audio_tokens=min(audio, whole - read)))
    assert price.cost(Usage(whole, read, input_audio_tokens=audio)) <= plain


@given(tariffs(), counts, st.integers(0, 1000), st.integers(0, 1000))
def test_no_call_costs_more_than_its_ceiling(tariff, used, more_in, more_out):
    spent, extra = usage(**used)
    ceiling = tariff.ceiling(spent.input_tokens + more_in, spent.output_tokens + more_out)
    assert tariff.cost(spent, extra) <= ceiling


def test_a_tier_prices_the_whole_call_from_the_first_token_above_it():
    tariff = Tariff((Rates(input=PER, output=PER), Rates(input=2 * PER, output=3 * PER, above=200)))
    assert tariff.cost(Usage(200, output_tokens=1)) == 201
    assert tariff.cost(Usage(201, output_tokens=1)) == 405
    assert tariff.ceiling(200, 1) == 201
    assert tariff.ceiling(201, 1) == 405


def test_the_ceiling_knows_a_tier_that_is_cheaper():
    tariff = Tariff((Rates(input=2 * PER, output=0), Rates(input=PER, output=0, above=10)))
    assert tariff.ceiling(11, 0) == 22


def test_no_cost_is_beyond_all_measure():
    assert Rates(input=RATE_MAX, output=RATE_MAX).cost(Usage(TOKENS_MAX)) == MAX
    assert Rates(input=RATE_MAX, output=0).ceiling(TOKENS_MAX, 0) == MAX


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": -1, "output": 0}, "input: expected"),
        ({"input": 0, "output": RATE_MAX + 1}, "output: expected"),
        ({"input": 1, "output": 0, "cache_read": 2}, "cache_read: expected at most"),
    ],
)
def test_rates_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(BadSetting, match=message):
        Rates(**wrong)


@pytest.mark.parametrize("starts", [(), (5,), (0, 0), (0, 9, 3)])
def test_tiers_without_an_order_are_refused(starts):
    with pytest.raises(BadSetting, match="tiers"):
        Tariff(tuple(Rates(input=0, output=0, above=start) for start in starts))


def override(name, model="m", from_s=0, provider="p"):
    return Override(name, provider, model, Tariff((FREE,)), from_s)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], None),
        ([override("a"), override("b", from_s=50)], "b"),
        ([override("b", from_s=50), override("a")], "b"),
        ([override("a"), override("b", from_s=101)], "a"),
        ([override("all", "*", 50), override("one")], "one"),
        ([override("all", "*")], "all"),
        ([override("other", "n"), override("theirs", provider="q")], None),
    ],
)
def test_the_override_of_the_model_holds_and_of_those_the_latest(overrides, expected):
    found = overriding(overrides, "p", "m", 100)
    assert (found and found.id) == expected


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("price", "result", "expected"),
    [
        (CallPrice(USD // 100), {"cost": 1}, None),
        (CallPrice(5, "/usage/cost"), {"usage": {"cost": 0.0047}}, 4_700_000),
        (CallPrice(5, "/usage/cost"), {"usage": {"cost": "0.0047"}}, 4_700_000),
        (CallPrice(5, "/a~1b/m~0n/1"), {"a/b": {"m~n": [0, 2]}}, 2 * USD),
        (CallPrice(5, "/cost"), {"cost": -1}, None),
        (CallPrice(5, "/cost"), {}, None),
        (CallPrice(5, "/0"), [], None),
        (CallPrice(5, "/x"), [1], None),
        (CallPrice(5, "/x/y"), 7, None),
        (CallPrice(5, "/cost"), {"cost": True}, None),
        (CallPrice(5, "/cost"), {"cost": 0}, 0),
    ],
)
def test_a_result_may_say_what_its_call_cost(price, result, expected):
    assert price.said(result) == expected


def test_a_pointer_that_is_none_is_refused():
    with pytest.raises(BadSetting, match="expected a JSON pointer"):
        CallPrice(1, "cost")


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        (0, 0),
        (1, USD),
        (0.1, USD // 10),
        ("1e-3", USD // 1000),
        (Decimal("0.0000000001"), 1),
        (1e-300, 1),
        (100_000_000, MAX),
        (100_000_001, None),
        (-0.01, None),
        (float("nan"), None),
        (float("inf"), None),
        ("sNaN", None),
        ("1e999999999", None),
        ("much", None),
        ("1" * 65, None),
        (True, None),
        (None, None),
        ({}, None),
    ],
)
def test_dollars_of_others_are_read_exactly_and_rounded_up(dollars, expected):
    assert nano_usd(dollars) == expected


def test_a_number_without_end_is_no_amount():
    assert nano_usd(10**5000) is None
