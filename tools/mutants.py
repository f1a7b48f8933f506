"""Break the code on purpose, and see that a test notices: `make mutants`, or with some lists named.

Each `tests/<area>/mutants/<module>.toml` is a list of hand-made mutants of one module:

    file = "src/agenthub/domain/circuit_breaker.py"    # what is broken
    tests = ["tests/domain/test_circuit_breaker.py"]   # who must notice, quick ones first

    [[mutant]]
    name = "a probe too many"                          # what is wrong with it, for the report
    find = "len(self._flying) >= self.config.probes"   # stands exactly once in the file
    replace = "len(self._flying) > self.config.probes"

Texts of several lines go in ''' '''. A mutant may bring a `file` or `tests` of its own.

A mutant is KILLED when the tests fail (or hang), SURVIVED when they pass, BROKEN when it cannot be
judged: `find` stands there never or twice, the result is no Python, or pytest could not run. The
tests must pass unbroken first. The checkout is never edited: mutants live in copies of `src`.
Exit code 1 unless all are killed. `--fit` only looks whether each fits the code (`make check`).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
WORKERS = 2
TESTS_FAILED = 1  # exit code of pytest
TIMEOUT_S = 180  # a mutant that takes longer hangs, and is killed by that


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    tests: tuple[str, ...]
    find: str
    replace: str

    def text(self) -> str:
        """The broken module. Raises ValueError if the mutant does not fit it."""
        original = (ROOT / self.file).read_text()
        if (times := original.count(self.find)) != 1:
            raise ValueError(f"`find` stands {times} times in {self.file}, not once")
        text = original.replace(self.find, self.replace)
        if text == original:
            raise ValueError("`replace` changes nothing")
        try:
            compile(text, self.file, "exec")
        except SyntaxError as error:
            raise ValueError(f"no Python: {error}") from None
        return text


def read(path: Path) -> Iterator[Mutant]:
    table = tomllib.loads(path.read_text())
    for row in table["mutant"]:
        both = {**table, **row}
        extra = both.keys() - {"file", "tests", "mutant", "name", "find", "replace"}
        if extra:
            raise ValueError(f"{path}: unknown keys {sorted(extra)}")
        yield Mutant(
            both["name"], both["file"], tuple(both["tests"]), both["find"], both["replace"]
        )


class Copy:
    """A copy of `src`, in which one mutant at a time is tried."""

    def __init__(self, home: Path) -> None:
        self.src = home / "src"
        shutil.copytree(ROOT / "src", self.src, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = os.environ | {
            "AGENTHUB_LONG_MACHINES": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (self.src, ROOT / "tests"))),
            "PYTHONDONTWRITEBYTECODE": "1",  # edits within a second would be missed
            "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
        }
        where = self._python("-c", "import agenthub; print(agenthub.__file__)", check=True).stdout
        assert Path(where.strip()).is_relative_to(self.src), f"tests would import {where}"

    def try_out(self, mutant: Mutant) -> tuple[str, str]:
        """The verdict, and why."""
        path = self.src.parent / mutant.file
        try:
            text = mutant.text()
            path.write_text(text)
            code, output = self.run(mutant.tests)
        except subprocess.TimeoutExpired:
            return "KILLED", "hangs"
        except (OSError, ValueError) as error:
            return "BROKEN", str(error)
        finally:
            if path.exists():
                shutil.copyfile(ROOT / mutant.file, path)
        if code == TESTS_FAILED:
            killers = [line for line in output.splitlines() if line.startswith("FAILED")]
            return "KILLED", killers[0].split(" - ")[0].removeprefix("FAILED ") if killers else ""
        return ("SURVIVED", "") if code == 0 else ("BROKEN", output[-2000:])

    def run(self, tests: tuple[str, ...]) -> tuple[int, str]:
        plugins = ("-p", "no:cacheprovider", "-p", "support.no_shrink")
        done = self._python(
            "-m", "pytest", "-x", "-q", "--no-header", *plugins, *tests, check=False
        )
        return done.returncode, done.stdout

    def _python(self, *args: str, check: bool) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *args], cwd=ROOT, env=self.env, check=check, timeout=TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip


def misfits(lists: list[Path]) -> Iterator[str]:
    """What stands in the lists that could not be judged."""
    for path in lists:
        for mutant in read(path):
            for test in mutant.tests:
                if not (ROOT / test.partition("::")[0]).exists():
                    yield f"{path}: {mutant.name}: there is no {test}"
            try:
                mutant.text()
            except (OSError, ValueError) as error:
                yield f"{path}: {mutant.name}: {error}"


def main(lists: list[Path]) -> int:
    mutants = [mutant for path in lists for mutant in read(path)]
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(WORKERS) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(Copy(Path(home) / str(number)))

        def lend(job: "Mutant | tuple[str, ...]") -> tuple[str, str]:
            copy = copies.get()
            try:
                if isinstance(job, Mutant):
                    return copy.try_out(job)
                code, output = copy.run(job)
                return ("OK", "") if code == 0 else ("RED", output[-4000:])
            finally:
                copies.put(copy)

        suites = sorted({mutant.tests for mutant in mutants})
        for suite, (verdict, output) in zip(suites, pool.map(lend, suites), strict=True):
            if verdict != "OK":
                sys.exit(f"{output}\n{' '.join(suite)}: fails without a mutant")
        killed = 0
        for mutant, (verdict, why) in zip(mutants, pool.map(lend, mutants), strict=True):
            killed += verdict == "KILLED"
            print(f"{verdict:8} {Path(mutant.file).stem}: {mutant.name}  [{why}]", flush=True)
    print(f"{killed} of {len(mutants)} mutants killed")
    return 0 if mutants and killed == len(mutants) else 1


if __name__ == "__main__":
    named = sys.argv[1:]
    fit = named[:1] == ["--fit"]
    lists = [Path(name) for name in named[fit:]] or sorted(ROOT.glob("tests/**/mutants/*.toml"))
    sys.exit(("\n".join(misfits(lists)) or 0) if fit else main(lists))
