"""What an attempt at a tool costs, by how it ended; models' are in test_till.py."""

import pytest
from msgspec import structs
from support.fake_upstream import BUSY, OK, REFUSED, error, lost, result

from agenthub.domain.endpoint import Endpoint
from agenthub.domain.journey import Hop
from agenthub.domain.lane import Lane
from agenthub.domain.outcome import Ending, Reply, Written
from agenthub.domain.price import CallPrice
from agenthub.domain.usage import Basis
from agenthub.meter import Spent, ToolMeter

EACH, SAYS = CallPrice(10), CallPrice(10, "/structuredContent/cost")
ASKS = result(b"{}", result_type="input_required")
FAILED = result(b'{"isError":true}', is_error=True)
TASK = result(b'{"taskId":"7"}', result_type="task")
SAID = result(b'{"structuredContent":{"cost":0.00000004}}')
FIXED, GUESS = Spent(10, Basis.FIXED, ref="each"), Spent(10, Basis.ESTIMATED, ref="each")
GONE = Reply(Ending.CANCELLED)


def hop(price):
    return Hop(Lane(Endpoint("s", url="http://h"), lambda *_: None), "t", None, price=price)


@pytest.mark.parametrize(
    ("price", "reply", "expected"),
    [
        (EACH, OK.reply, FIXED),
        (EACH, FAILED.reply, FIXED),
        (EACH, TASK.reply, FIXED),
        (EACH, SAID.reply, FIXED),
        (SAYS, SAID.reply, Spent(40, Basis.PROVIDER, ref="result")),
        (SAYS, OK.reply, FIXED),
        (SAYS, result(b"[" * 100_000).reply, FIXED),
        (EACH, ASKS.reply, None),
        (EACH, REFUSED.reply, None),
        (EACH, BUSY.reply, None),
        (EACH, error(-32602).reply, None),
        (EACH, error(-32603).reply, GUESS),
        (EACH, lost().reply, GUESS),
        (EACH, structs.replace(lost().reply, written=Written.PARTIAL), None),
        (None, OK.reply, None),
    ],
)
def test_a_tool_costs_what_its_result_says_or_each_unless_it_surely_did_not_run(
    price, reply, expected
):
    assert ToolMeter().spent(hop(price), reply) == expected


def test_a_call_that_was_given_up_may_have_run():
    assert ToolMeter().spent(hop(EACH), GONE) == GUESS
    unsent = structs.replace(GONE, written=Written.NONE)
    assert ToolMeter().spent(hop(EACH), unsent) is None


def test_the_dearest_of_those_that_may_serve_it_is_held():
    assert ToolMeter().ceiling([hop(None), hop(EACH), hop(CallPrice(30))]) == 30
