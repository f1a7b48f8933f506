"""The outcome tables of rule set §4.1 and §4.2, row by row."""

import itertools

import pytest

from agenthub.domain.errors import BY_SLUG
from agenthub.domain.judge import ToolSpread, Verdict, judge
from agenthub.domain.outcome import Cause, Certainty, Effect, Ending, Reply, Written

OK, FAIL, IGNORE = Effect.SUCCESS, Effect.FAILURE, Effect.IGNORE
NOT_SENT, REFUSED, UNKNOWN = Certainty.NOT_SENT, Certainty.REFUSED, Certainty.UNKNOWN
PARTIAL = [Written.NONE, Written.PARTIAL]


def status(code, **facts):
    return Reply(Ending.STATUS, status=code, **facts)


def error(code, **facts):
    return Reply(Ending.ERROR, code=code, error=b"{}", **facts)


def verdict(certainty, server, tool, slug="", **facts):
    return Verdict(certainty, server, tool, slug, **facts)


SPREAD = {"needs_spread": True}
ROWS = [
    # result
    (Reply(Ending.RESULT), verdict(Certainty.DONE_OK, OK, OK)),
    (Reply(Ending.RESULT, result_type="something new"), verdict(Certainty.DONE_OK, OK, OK)),
    (Reply(Ending.RESULT, is_error=True), verdict(Certainty.DONE_ERR, OK, OK)),
    (
        Reply(Ending.RESULT, result_type="input_required"),
        verdict(Certainty.INPUT_REQUIRED, OK, OK),
    ),
    # the request is blamed: by code
    *[
        (error(code, status=http), verdict(REFUSED, OK, IGNORE))
        for code in (-32700, -32600, -32601, -32602, -32020, -32021, -32022, -32002, -32042)
        for http in (0, 200, 400, 404, 500)
    ],
    # the request is blamed: by status
    *[
        row
        for http in (400, 404, 405, 406, 413, 415, 421, 422)
        for row in (
            (status(http), verdict(REFUSED, OK, IGNORE, "upstream_protocol")),
            (error(-32000, status=http), verdict(REFUSED, OK, IGNORE)),
        )
    ],
    # the hub has none to show: nothing was sent, and the server is as it was
    (status(401, written=Written.NONE), verdict(REFUSED, IGNORE, IGNORE, "upstream_unavailable")),
    (error(-32042, written=Written.NONE), verdict(REFUSED, IGNORE, IGNORE)),
    (status(403, written=Written.NONE), verdict(REFUSED, OK, IGNORE, "upstream_unavailable")),
    # the hub's credentials are blamed
    *[
        row
        for http in (401, 403)
        for row in (
            (status(http), verdict(REFUSED, OK, IGNORE, "upstream_unavailable")),
            (error(-32603, status=http), verdict(REFUSED, OK, IGNORE)),
        )
    ],
    (status(402), verdict(REFUSED, OK, IGNORE, "upstream_exhausted")),
    (error(-32603, status=402), verdict(REFUSED, OK, IGNORE)),
    # a pause is asked for
    *[
        row
        for http in (429, 529)
        for wait in (None, 0, 1_000)
        for row in (
            (
                status(http, retry_after_ms=wait),
                verdict(REFUSED, IGNORE, IGNORE, "throttled_upstream", pushback=True),
            ),
            (
                error(-32602, status=http, retry_after_ms=wait),
                verdict(REFUSED, IGNORE, IGNORE, pushback=True),
            ),
        )
    ],
    # the tool broke, or the server did
    *[
        (error(code), verdict(UNKNOWN, IGNORE, FAIL, **SPREAD))
        for code in (-32603, -32000, -32001, -32019, -32023, -1, 0, 7)
    ],
    *[
        row
        for http in (500, 501, 505, 599)
        for row in (
            (status(http), verdict(UNKNOWN, IGNORE, FAIL, "outcome_unknown", **SPREAD)),
            (error(-32603, status=http), verdict(UNKNOWN, IGNORE, FAIL, **SPREAD)),
        )
    ],
    # a gateway before the server
    *[
        row
        for http in (502, 503, 504)
        for row in (
            (status(http), verdict(UNKNOWN, FAIL, IGNORE, "outcome_unknown")),
            (error(-32603, status=http), verdict(UNKNOWN, FAIL, IGNORE)),
        )
    ],
    *[
        (status(http, retry_after_ms=1_000), verdict(UNKNOWN, FAIL, IGNORE, "outcome_unknown"))
        for http in (502, 504)
    ],
    *[
        row
        for wait in (0, 1_000)
        for row in (
            (
                status(503, retry_after_ms=wait),
                verdict(REFUSED, FAIL, IGNORE, "upstream_unavailable"),
            ),
            (error(-32603, status=503, retry_after_ms=wait), verdict(REFUSED, FAIL, IGNORE)),
        )
    ],
    # what is listed nowhere
    *[
        (status(http), verdict(UNKNOWN, OK, IGNORE, "outcome_unknown"))
        for http in (408, 409, 410, 418, 425, 499)
    ],
    *[
        (status(http), verdict(UNKNOWN, FAIL, FAIL, "upstream_protocol"))
        for http in (0, 101, 200, 202, 204, 302, 307, 399)
    ],
    # the exchange broke after the request was out
    (Reply(Ending.UNREACHED), verdict(NOT_SENT, FAIL, IGNORE, "upstream_unavailable")),
    (Reply(Ending.LOST), verdict(UNKNOWN, FAIL, IGNORE, "outcome_unknown")),
    (Reply(Ending.CANCELLED), verdict(UNKNOWN, FAIL, IGNORE, "outcome_unknown")),
    (Reply(Ending.PROTOCOL), verdict(UNKNOWN, FAIL, FAIL, "upstream_protocol")),
    (Reply(Ending.TOO_LARGE), verdict(UNKNOWN, FAIL, FAIL, "response_too_large")),
    (Reply(Ending.TIMEOUT), verdict(UNKNOWN, IGNORE, FAIL, "outcome_unknown", **SPREAD)),
    # … and before
    *[
        (Reply(ending, written), verdict(NOT_SENT, server, tool, "upstream_unavailable", **more))
        for written in PARTIAL
        for ending, server, tool, more in (
            (Ending.UNREACHED, FAIL, IGNORE, {}),
            (Ending.LOST, FAIL, IGNORE, {}),
            (Ending.CANCELLED, FAIL, IGNORE, {}),
            (Ending.PROTOCOL, FAIL, FAIL, {}),
            (Ending.TOO_LARGE, FAIL, FAIL, {}),
            (Ending.TIMEOUT, IGNORE, FAIL, SPREAD),
        )
    ],
]
CAUSES = [
    (Cause.CLIENT, IGNORE, "outcome_unknown", "deadline_exceeded", {}),
    (Cause.SHUTDOWN, IGNORE, "outcome_unknown", "overloaded", {}),
    (Cause.SHED, IGNORE, "outcome_unknown", "overloaded", {}),
    (Cause.BUDGET, IGNORE, "budget_exceeded", "budget_exceeded", {}),
    (Cause.DEADLINE, FAIL, "outcome_unknown", "deadline_exceeded", SPREAD),
]


def shown(row):
    reply = row[0]
    return f"{reply.ending.value} {reply.code or ''} {reply.status or ''} {reply.written.name}"


@pytest.mark.parametrize(("reply", "expected"), ROWS, ids=map(shown, ROWS))
def test_the_verdict_is_that_of_the_table(reply, expected):
    assert judge(reply, cancelled=None) == expected


def test_the_table_has_every_ending():
    assert {reply.ending for reply, _ in ROWS} == set(Ending)


@pytest.mark.parametrize(("cause", "tool", "sent", "unsent", "more"), CAUSES)
@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.LOST, Ending.TIMEOUT])
def test_what_the_hub_ended_is_judged_by_its_cause_and_the_bytes_written(
    cause, tool, sent, unsent, more, ending
):
    """R14."""
    reply = Reply(ending)
    assert judge(reply, cancelled=cause) == verdict(UNKNOWN, IGNORE, tool, sent, **more)
    for written in PARTIAL:
        reply = Reply(ending, written)
        assert judge(reply, cancelled=cause) == verdict(NOT_SENT, IGNORE, tool, unsent, **more)


def test_every_cause_is_in_the_table():
    assert {row[0] for row in CAUSES} == set(Cause)


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("reply", [Reply(Ending.RESULT), error(-32602), status(500)])
def test_an_answer_that_was_faster_than_the_cancellation_counts(reply, cause):
    assert judge(reply, cancelled=cause) == judge(reply, cancelled=None)


@pytest.mark.parametrize("code", [-31000, -31001, -31007, -31014, -31099])
@pytest.mark.parametrize("http", [0, 200, 400, 429, 500])
def test_a_code_of_the_hubs_own_is_not_believed_of_an_upstream(code, http):
    """A34: nothing else about the verdict changes."""
    found = judge(error(code, status=http), cancelled=None)
    honest = judge(error(-32603, status=http), cancelled=None)
    assert found.slug == "upstream_protocol"
    assert (found.certainty, found.server, found.tool) == (
        honest.certainty, honest.server, honest.tool,
    )  # fmt: skip


@pytest.mark.parametrize("code", [-30999, -31100])
def test_the_codes_next_to_the_hubs_own_are_the_upstreams(code):
    assert judge(error(code), cancelled=None).slug == ""


def test_every_slug_is_an_error_of_the_hub():
    verdicts = [judge(reply, cancelled=None) for reply, _ in ROWS]
    verdicts += [
        judge(Reply(Ending.CANCELLED, written), cancelled=cause)
        for written, cause in itertools.product(Written, Cause)
    ]
    assert {found.slug for found in verdicts} - {""} <= set(BY_SLUG)


def test_a_client_can_hurt_no_breaker():
    """A44: invalid requests, cancellations and bad statuses that blame the request."""
    for reply in [error(-32602), status(400), status(409), status(413), status(422), status(429)]:
        found = judge(reply, cancelled=None)
        assert FAIL not in {found.server, found.tool}
    for cause in (Cause.CLIENT, Cause.SHUTDOWN, Cause.SHED):
        found = judge(Reply(Ending.CANCELLED), cancelled=cause)
        assert {found.server, found.tool} == {IGNORE}


# ---------------------------------------------------------------- several tools


def adds(spread, *calls):
    return [spread.add(tool, now) for tool, now in calls]


def test_one_tool_is_not_the_server_however_often_it_fails():
    assert not any(adds(ToolSpread(30), *[("a", now) for now in range(100)]))


def test_two_tools_within_the_window_are_the_server():
    assert adds(ToolSpread(30), ("a", 0), ("b", 30)) == [False, True]
    assert adds(ToolSpread(30), ("a", 0), ("b", 31)) == [False, False]


def test_from_then_on_each_failure_is_the_servers_while_another_is_recent():
    found = adds(ToolSpread(30), ("a", 0), ("b", 10), ("b", 30), ("b", 31), ("a", 61), ("a", 62))
    assert found == [False, True, True, False, True, False]


def test_the_latest_failure_of_another_tool_counts():
    found = adds(ToolSpread(30), ("a", 0), ("b", 10), ("a", 40), ("a", 41), ("c", 60), ("c", 70))
    assert found == [False, True, True, False, True, True]


def test_a_new_window_holds_at_once():
    spread = ToolSpread(30)
    spread.add("a", 0)
    spread.window = 10
    assert not spread.add("b", 11)


def test_a_tool_without_a_name_is_a_tool():
    assert adds(ToolSpread(30), ("", 0), ("", 1), ("a", 2), ("", 3)) == [False, False, True, True]
