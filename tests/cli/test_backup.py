import asyncio

from agenthub.cli.backup import ELSEWHERE
from agenthub.outbound.store import open_store


async def used(home):
    async with open_store(home):
        pass


def test_the_database_is_copied(cli, home, tmp_path):
    asyncio.run(used(home))
    copy = tmp_path / "copy.db"
    said = cli("backup", str(copy))
    assert said.out == f"Copied the database to {copy} ({copy.stat().st_size:,} bytes).\n"
    assert said.err == ""
    again = cli("backup", str(copy))
    assert (again.code, "is there already" in again.err) == (1, True)


def test_it_is_said_that_a_ledger_elsewhere_is_not_in_the_copy(cli, home, tmp_path):
    asyncio.run(used(home))
    settings = home / "agenthub.yaml"
    settings.write_text("ledger: {url: 'postgresql://hub@db/hub'}\n")
    settings.chmod(0o600)
    assert ELSEWHERE in cli("backup", str(tmp_path / "1.db")).err
    assert cli("backup", str(tmp_path / "2.db"), "--json").json["has_ledger"] is False
    settings.write_text("ledger: 5\n")
    assert cli("backup", str(tmp_path / "3.db"), "--json").json["has_ledger"] is True
