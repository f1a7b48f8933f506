"""The official conformance suite in the server's seat: the hub is the client of its servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.conformance import SUITE
from support.interop_clients import INSTALLED, INTEROP, LEGACY, MODERN, environment
from support.interop_page import check, table

SCENARIO_S = 60
SCENARIOS = {
    MODERN: (
        "tools_call", "request-metadata", "sep-2322-client-request-state",
        "http-standard-headers", "http-custom-headers", "http-invalid-tool-headers",
        "json-schema-ref-no-deref", "json-schema-2020-12-preservation",
    ),
    LEGACY: (
        "initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry",
        "json-schema-2020-12-preservation",
    ),
}  # fmt: skip
"""All but those of authorization; the suite does not require the preservation of schemas."""
NOT_REQUIRED = "json-schema-2020-12-preservation"
EVERY = [(revision, one) for revision, names in SCENARIOS.items() for one in names]


def run_scenario(scenario: str, revision: str, out: Path) -> list[str]:
    """The statuses of its checks."""
    node, script = INSTALLED / "bin" / "node", SUITE / "dist" / "index.js"
    command = f"{sys.executable} {INTEROP / 'hub_as_client.py'}"
    options = ("--scenario", scenario, "--spec-version", revision, "-o", str(out))
    done = subprocess.run(
        [str(node), str(script), "client", "--command", command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=SCENARIO_S,
        env=environment(),
    )
    (file,) = out.glob("*/checks.json")
    found = json.loads(file.read_text())
    wrong = [one for one in found if one["status"] in {"FAILURE", "WARNING"}]
    assert not wrong, f"{wrong}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, done.stdout[-3000:]
    return [one["status"] for one in found]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("revision", "scenario"), EVERY)
def test_the_hub_is_the_client_that_the_suite_requires(revision, scenario, tmp_path):
    assert "SUCCESS" in run_scenario(scenario, revision, tmp_path)


@pytest.mark.parametrize("revision", SCENARIOS)
def test_none_is_left_out_but_those_of_authorization(revision):
    known = yaml.safe_load((SUITE / "requirements" / f"{revision}.yaml").read_text())
    required = {one for one in known["client"] if not one.startswith("auth/")}
    assert required == set(SCENARIOS[revision]) - {NOT_REQUIRED}


def test_the_list_in_the_reference_is_that_of_the_test():
    heads = ["revision", "scenarios that pass with the hub in the client's seat"]
    rows = [[revision, ", ".join(names)] for revision, names in SCENARIOS.items()]
    check("client leg", "\n".join(table(heads, rows)))
