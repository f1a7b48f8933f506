"""Counts of tokens, and what becomes of those that cannot be."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agenthub.domain.usage import GUESSED, SURE, TOKENS_MAX, Basis, Usage

counts = st.integers(-(2**70), 2**70) | st.integers(-3, 30)


def test_a_usage_that_can_be_stays_as_it_is():
    usage = Usage(100, 40, 30, 30, 50, 16, 100, 50)
    assert usage.sound() == usage


def test_a_count_below_nothing_is_nothing_and_one_beyond_reason_is_cut():
    assert Usage(input_tokens=-5, output_tokens=2**70).sound() == Usage(output_tokens=TOKENS_MAX)


def test_a_part_above_its_whole_is_the_whole():
    usage = Usage(10, 8, 8, 9, 5, 6, 11, 7).sound()
    assert usage == Usage(10, 8, 2, 2, 5, 5, 10, 5)


@given(st.lists(counts, min_size=8, max_size=8))
def test_every_usage_has_a_nearest_sound_one(numbers):
    usage = Usage(*numbers).sound()
    assert usage == usage.sound()
    assert all(0 <= count <= TOKENS_MAX for count in structs.astuple(usage))
    assert usage.cache_read_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert usage.reasoning_tokens <= usage.output_tokens
    assert usage.input_audio_tokens <= usage.input_tokens
    assert usage.output_audio_tokens <= usage.output_tokens


def test_no_guess_is_sure():
    assert not GUESSED & SURE
    assert Basis.UNPRICED not in GUESSED | SURE
