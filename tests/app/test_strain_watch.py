"""The watch over the loop and the memory, and what the gateway makes of it."""

from contextlib import closing
from pathlib import Path

import pytest
from support.house import house
from support.virtual_time import passes, virtual_time

from agenthub.app.strain_watch import StrainWatch, memory_reader
from agenthub.domain.errors import Overloaded
from agenthub.domain.span import MILLISECOND, SECOND
from agenthub.domain.strain import FEWEST, NO_CALLS, Strain
from agenthub.keys import ADMIN


class LateClock:
    """The house's clock; `late` is how long the loop is held up before each look."""

    def __init__(self, clock):
        self._clock = clock
        self.late = 0

    def now(self):
        return self._clock.now()

    def after(self, span, callback):
        return self._clock.after(span + self.late, callback)


@virtual_time()
async def test_a_loop_that_lags_takes_fewer_calls_and_then_more_again():
    async with house("git") as hub:
        clock, strain = LateClock(hub.clock), Strain(1_000)
        with closing(StrainWatch(clock, strain, hub.gateway, lambda: 0)):
            await passes(2 * SECOND)
            assert hub.gateway.places == 1_000
            clock.late = 150 * MILLISECOND
            await passes(5 * SECOND)
            assert hub.gateway.places == strain.places == FEWEST
            assert strain.lag == 150 * MILLISECOND
            clock.late = 0
            await passes(60 * SECOND)
            assert hub.gateway.places == 1_000


@virtual_time()
async def test_without_memory_calls_are_refused_until_there_is_some():
    async with house("git") as hub:
        used = NO_CALLS
        with closing(StrainWatch(hub.clock, Strain(1_000), hub.gateway, lambda: used)):
            await passes(SECOND)
            assert not hub.gateway.takes_streams
            hub.gateway.in_flight.update(range(FEWEST))
            with pytest.raises(Overloaded):
                hub.gateway.shed(ADMIN)
            used = 100
            await passes(2 * SECOND)
            hub.gateway.shed(ADMIN)
            assert hub.gateway.takes_streams
            hub.gateway.in_flight.clear()


@virtual_time()
async def test_after_its_end_it_looks_no_more():
    async with house("git") as hub:
        looks = []
        watch = StrainWatch(hub.clock, Strain(10), hub.gateway, lambda: looks.append(1))
        watch.close()
        await passes(5 * SECOND)
        assert looks == []


@virtual_time()
async def test_a_hub_that_stops_takes_no_call_whatever_it_could_bear():
    async with house("git") as hub:
        await hub.gateway.drain(0)
        hub.gateway.bear(1_000, streams=True)
        with pytest.raises(Overloaded, match="stopping"):
            hub.gateway.shed(ADMIN)


PAGE = 4_096
MIB = 1 << 20


def machine(tmp_path: Path, pages: int, **limits: str) -> tuple[Path, Path]:
    """A /proc/self and a /sys/fs/cgroup; `limits` by file, with `__` for `/`."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    (proc / "statm").write_text(f"99999 {pages} 1 1 0 1 0\n")
    for name, text in limits.items():
        file = cgroups / name.replace("__", "/").replace("memory_max", "memory.max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return proc, cgroups


@pytest.fixture(autouse=True)
def _page(monkeypatch: pytest.MonkeyPatch):
    sizes = {"SC_PAGE_SIZE": PAGE, "SC_PHYS_PAGES": 1024 * MIB // PAGE}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)


def test_memory_is_measured_by_the_machine_where_there_is_no_other_limit(tmp_path: Path):
    proc, cgroups = machine(tmp_path, 512 * MIB // PAGE, memory_max="max\n")
    assert memory_reader(proc, cgroups)() == 500


def test_the_limit_of_a_container_counts(tmp_path: Path):
    proc, cgroups = machine(tmp_path, 128 * MIB // PAGE, memory_max=f"{256 * MIB}\n")
    assert memory_reader(proc, cgroups)() == 500


def test_the_limit_of_its_own_group_counts(tmp_path: Path):
    proc, cgroups = machine(tmp_path, 64 * MIB // PAGE, hub__memory_max=f"{128 * MIB}\n")
    (proc / "cgroup").write_text("0::/hub\n")
    assert memory_reader(proc, cgroups)() == 500


def test_the_limit_of_the_first_version_of_groups_counts(tmp_path: Path):
    proc, cgroups = machine(tmp_path, 64 * MIB // PAGE)
    group = cgroups / "memory" / "hub"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{128 * MIB}\n")
    (proc / "cgroup").write_text("9:memory:/hub\n1:cpu:/x\n")
    assert memory_reader(proc, cgroups)() == 500


@pytest.mark.parametrize("statm", ["", "x y", "1"])
def test_what_cannot_be_read_is_no_strain(tmp_path: Path, statm: str):
    proc, cgroups = machine(tmp_path, 1)
    (proc / "statm").write_text(statm)
    assert memory_reader(proc, cgroups)() == 0
    (proc / "statm").unlink()
    assert memory_reader(proc, cgroups)() == 0
