from support.house import house
from support.virtual_time import settled, virtual_time

from agenthub.domain.outcome import Cause, Ending, Reply, Written
from agenthub.domain.span import SECOND
from agenthub.ports import Outgoing
from agenthub.unusable import Unusable


class Receiver:
    def __init__(self):
        self.replies = []

    def finished(self, reply):
        self.replies.append(reply)


@virtual_time()
async def test_each_attempt_says_what_is_wrong_and_nothing_is_sent():
    async with house() as hub:
        upstream = Unusable("env.TOKEN: not set", "Set it.", hub.clock)
        upstream.start()
        receiver = Receiver()
        attempt = upstream.send(Outgoing("tools/list", "", {}, {}, 9 * SECOND), receiver)
        assert receiver.replies == [], "never from inside `send`"
        attempt.answer(1, b"{}")
        attempt.pause()
        attempt.resume()
        attempt.cancel(Cause.CLIENT)
        await settled()
        assert receiver.replies == [
            Reply(Ending.UNREACHED, Written.NONE, detail="env.TOKEN: not set")
        ]
        assert (upstream.state.problem, upstream.state.hint) == ("env.TOKEN: not set", "Set it.")
        assert not upstream.state.connected
        await upstream.close()
