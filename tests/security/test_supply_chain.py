"""What is installed and what is built is what was looked at (A63)."""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [
    "requirements.lock", "requirements-dev.lock", "tests/interop/python.lock",
    "tests/interop/node.lock",
]  # fmt: skip
PINNED = re.compile(r"([a-z0-9][a-z0-9.-]*)==[0-9a-zA-Z.+!-]+( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
COMMENT = re.compile(r"\s*#.*")


def locked(file):
    """The names in a lock file, each of one version with at least one hash; nothing else is."""
    names, lines = [], iter((ROOT / file).read_text().splitlines())
    waits_for_hash = False
    for line in lines:
        if COMMENT.fullmatch(line) or not line:
            continue
        if HASH.fullmatch(line):
            assert names, line
            waits_for_hash = False
        else:
            assert not waits_for_hash, f"{names[-1]} has no hash"
            found = PINNED.fullmatch(line)
            assert found, f"{file}: {line}"
            names.append(found[1])
            waits_for_hash = True
    assert not waits_for_hash
    return names


@pytest.mark.parametrize("file", LOCKS)
def test_a63_every_package_is_of_one_version_with_its_hash_and_from_no_other_place(file):
    assert locked(file)


def test_a63_what_the_hub_needs_is_locked_under_its_own_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=!~ ;\[]", one)[0].lower() for one in project["dependencies"]}
    assert wanted <= set(locked("requirements.lock"))
    assert set(locked("requirements.lock")) <= set(locked("requirements-dev.lock"))


def test_a63_installing_asks_for_the_hashes():
    lines = [x for x in (ROOT / "Makefile").read_text().splitlines() if "pip install" in x]
    assert all("--require-hashes" in line or " -e ." in line for line in lines)
    assert all("--no-deps" in line for line in lines)


def test_a63_packages_of_npm_have_their_hashes_and_run_nothing_when_installed():
    packages = json.loads((ROOT / "tests/interop/package-lock.json").read_text())["packages"]
    del packages[""]
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
    assert '"--ignore-scripts"' in (ROOT / "tests/interop/install.py").read_text()


def tracked(under):
    """Files of the repository, those too that are not committed yet."""
    command = ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", under]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode or not found.stdout:
        pytest.skip("no git repository")
    return set(found.stdout.split())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True,
        capture_output=True,
    )  # fmt: skip
    return folder


def test_a63_the_wheel_holds_the_package_and_nothing_that_runs_at_the_start_of_python(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {name for name in names if not re.match(r"agenthub-[^/]+\.dist-info/", name)}
    assert code == {name.removeprefix("src/") for name in tracked("src/agenthub")}
    told = {name.partition(".dist-info/")[2] for name in names - code}
    assert told == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_a63_the_source_archive_holds_what_the_repository_holds(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened if member.isfile()}
        kept = {name for name in names if name.startswith("src/")}
        assert kept == tracked("src")
        assert names - {"PKG-INFO"} <= tracked(".")
        for member in opened:
            path = member.name.partition("/")[2]
            if path in kept:
                assert opened.extractfile(member).read() == (ROOT / path).read_bytes()
