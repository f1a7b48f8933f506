"""Trace context: the trace goes on, under the hub's own span."""

import pytest
from msgspec import Raw

from agenthub.wire.trace import continued

SPAN = "b7ad6b7169203331"
TRACE = b"0af7651916cd43dd8448eb211c80319c"


def test_a_trace_goes_on_under_the_hubs_span():
    meta = {"traceparent": Raw(b'"00-%b-00f067aa0ba902b7-01"' % TRACE), "tracestate": Raw(b'"a=1"')}
    assert continued(meta, SPAN) == {
        "traceparent": Raw(b'"00-%b-b7ad6b7169203331-01"' % TRACE),
        "tracestate": Raw(b'"a=1"'),
    }
    assert bytes(meta["traceparent"]).endswith(b'00f067aa0ba902b7-01"'), "the client's own stays"


def test_a_later_version_keeps_what_it_adds():
    meta = {"traceparent": Raw(b'"01-%b-00f067aa0ba902b7-01-more"' % TRACE)}
    expected = b'"01-%b-b7ad6b7169203331-01-more"' % TRACE
    assert bytes(continued(meta, SPAN)["traceparent"]) == expected


@pytest.mark.parametrize(
    "said",
    [
        b"7", b'""', b'"00"', b"null", b'"ff-%b-00f067aa0ba902b7-01"' % TRACE,
        b'"00-%b-00f067aa0ba902b7-01"' % (b"0" * 32), b'"00-%b-0000000000000000-01"' % TRACE,
        b'"00-%b-00F067AA0BA902B7-01"' % TRACE, b'"00-%b-00f067aa0ba902b7"' % TRACE,
        b'"00-%b-00f067aa0ba902b7-01\\u0022"' % TRACE, b'{"a":"00-x"}',
    ],
)  # fmt: skip
def test_what_is_no_trace_context_is_passed_on_as_it_is(said):
    meta = {"traceparent": Raw(said)}
    assert continued(meta, SPAN) is meta
