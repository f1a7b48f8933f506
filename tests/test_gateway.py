from support.house import house
from support.virtual_time import virtual_time


@virtual_time()
async def test_a_call_is_answered_by_its_server():
    async with house("calculator") as hub:
        assert await hub.result("calculator", "add", a=2, b=3) == b'{"content":[{"type":"text","text":"5"}]}'
        assert hub["calculator"].executed("add") == 1
        assert hub.at_rest()
