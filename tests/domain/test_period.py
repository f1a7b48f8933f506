"""Windows: each instant is in exactly one, in every time zone (P8)."""

import itertools
import zoneinfo
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agenthub.domain.errors import BadSetting
from agenthub.domain.period import EARLIEST_S, FOREVER_S, LATEST_S, Period

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
instants = st.integers(EARLIEST_S, 4_102_444_800) | st.integers(-(2**62), 2**62)
periods = st.one_of(
    st.builds(Period, st.just("day"), st.just(1), st.sampled_from(ZONES)),
    st.builds(Period, st.just("week"), st.integers(1, 7), st.sampled_from(ZONES)),
    st.builds(Period, st.just("month"), st.integers(1, 28), st.sampled_from(ZONES)),
)


def utc(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp())


def local(tz, *when):
    return int(datetime(*when, tzinfo=ZoneInfo(tz)).timestamp())


@given(periods, instants)
@example(Period("day", tz="America/St_Johns"), utc(2010, 11, 7, 2, 45))
def test_each_instant_is_in_exactly_one_window(period, at_s):
    """In St John's the clocks went back at one past midnight, into the day before."""
    window = period.window(at_s)
    at_s = min(max(at_s, EARLIEST_S), LATEST_S)
    assert window.first == window.key
    assert window.starts_at <= at_s < window.ends_at
    for inside in (window.starts_at, window.ends_at - 1):
        if EARLIEST_S <= inside <= LATEST_S:
            assert period.window(inside) == window
    if window.ends_at <= LATEST_S:
        after = period.window(window.ends_at)
        assert after.starts_at == window.ends_at
        assert after.key.split()[1] > window.key.split()[1]


@given(periods)
def test_windows_follow_each_other_without_a_gap(period):
    found = list(period.windows(utc(2026, 1, 5, 13), utc(2026, 3, 1)))
    assert found[0][0] <= utc(2026, 1, 5, 13) < found[0][1]
    assert found[-1][0] < utc(2026, 3, 1) <= found[-1][1]
    assert all(one[1] == next_[0] for one, next_ in itertools.pairwise(found))


@pytest.mark.parametrize("tz", ["Asia/Seoul", "UTC", "America/Los_Angeles", "Asia/Kathmandu"])
def test_days_begin_and_end_on_quarters_of_an_hour(tz):
    days = list(Period("day", tz=tz).windows(utc(2026, 1, 1), utc(2027, 1, 1)))
    assert all(edge % 900 == 0 for day in days for edge in day)


def test_days_have_23_and_25_hours_where_the_clocks_change():
    day = Period("day", tz="America/Los_Angeles")
    spring, autumn = (
        day.window(local("America/Los_Angeles", 2026, *when, 12)) for when in ((3, 8), (11, 1))
    )
    assert spring.ends_at - spring.starts_at == 23 * 3600
    assert autumn.ends_at - autumn.starts_at == 25 * 3600
    assert autumn.key == "day 2026-11-01 America/Los_Angeles"


def test_a_day_begins_when_the_clocks_do_where_they_skip_midnight():
    window = Period("day", tz="Africa/Cairo").window(local("Africa/Cairo", 2026, 4, 24, 12))
    assert window.starts_at == local("Africa/Cairo", 2026, 4, 24, 1)
    assert window.ends_at - window.starts_at == 23 * 3600


@pytest.mark.parametrize(
    ("period", "at", "starts", "ends"),
    [
        (Period("week", 1), (2026, 11, 25), (2026, 11, 23), (2026, 11, 30)),
        (Period("week", 7), (2026, 11, 22), (2026, 11, 22), (2026, 11, 29)),
        (Period("week", 4), (2026, 11, 25), (2026, 11, 19), (2026, 11, 26)),
        (Period("month"), (2026, 12, 31), (2026, 12, 1), (2027, 1, 1)),
        (Period("month", 28), (2026, 3, 27), (2026, 2, 28), (2026, 3, 28)),
        (Period("month", 15), (2028, 2, 29), (2028, 2, 15), (2028, 3, 15)),
        (Period("month", 1, "Asia/Seoul"), (2026, 10, 31, 15), (2026, 10, 31, 15),
         (2026, 11, 30, 15)),
    ],
)  # fmt: skip
def test_weeks_and_months_start_on_their_day(period, at, starts, ends):
    window = period.window(utc(*at))
    assert (window.starts_at, window.ends_at) == (utc(*starts), utc(*ends))


def test_rolling_hours_count_the_hour_and_those_before_it():
    window = Period("hours", 24).window(utc(2026, 1, 1, 5, 59, 59))
    assert (window.key, window.first) == ("hours 2026-01-01T05", "hours 2025-12-31T05")
    assert (window.starts_at, window.ends_at) == (utc(2025, 12, 31, 5), utc(2026, 1, 1, 6))


@pytest.mark.parametrize("kind", ["lifetime", "run"])
def test_what_has_no_end_has_one_window(kind):
    window = Period(kind, tz="Asia/Seoul").window(utc(2026, 1, 1))
    assert window == Period(kind).window(0)
    assert (window.key, window.first, window.starts_at) == (kind, kind, 0)
    assert window.ends_at == FOREVER_S


@pytest.mark.parametrize(
    ("period", "words"),
    [
        (Period("year"), "one of day, week"),
        (Period("week", 8), "from 1 to 7"),
        (Period("week", 0), "from 1 to 7"),
        (Period("month", 29), "from 1 to 28"),
        (Period("hours", 745), "from 1 to 744"),
        (Period("day", 2), "from 1 to 1"),
        (Period("day", tz="Mars/Olympus"), "no time zone"),
        (Period("day", tz="../../etc/passwd"), "no time zone"),
        (Period("day", tz=""), "no time zone"),
        (Period("day", tz="Europe"), "no time zone"),
        (Period("day", tz="a\0b"), "no time zone"),
    ],
)
def test_a_period_that_cannot_be_is_refused_in_words(period, words):
    with pytest.raises(BadSetting, match=words):
        period.check()


@pytest.mark.parametrize(
    "period", [Period(), Period("week", 7), Period("month", 28, "Asia/Seoul"), Period("hours", 5)]
)
def test_a_period_that_can_be_passes(period):
    period.check()
