"""The official conformance suite in the server's seat: the hub is the client of its servers."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from support.conformance import SUITE
from support.interop_clients import INSTALLED, INTEROP, LEGACY, MODERN, environment
from support.interop_page import check, table

SCENARIO_S = 90
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
SIGN_IN = {
    LEGACY: (
        "metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd",
        "scope-from-www-authenticate", "scope-from-scopes-supported",
        "scope-omitted-when-undefined", "scope-step-up", "scope-retry-limit",
        "token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none",
        "pre-registration",
    ),
}  # fmt: skip
SIGN_IN[MODERN] = (
    *SIGN_IN[LEGACY],
    "authorization-server-migration", "resource-mismatch", "offline-access-scope",
    "offline-access-not-supported", "iss-supported", "iss-not-advertised",
    "iss-supported-missing", "iss-wrong-issuer", "iss-unexpected", "iss-normalized",
    "metadata-issuer-mismatch",
)  # fmt: skip
"""Of authorization, by `agenthub login`: the address is opened as a browser would."""
NOT_REQUIRED = "json-schema-2020-12-preservation"
EVERY = [(revision, one) for revision, names in SCENARIOS.items() for one in names] + [
    (revision, f"auth/{one}") for revision, names in SIGN_IN.items() for one in names
]
AT_A_TIME = 3


def run_scenario(scenario: str, revision: str, out: Path) -> list[str]:
    """The statuses of its checks."""
    node, script = INSTALLED / "bin" / "node", SUITE / "dist" / "index.js"
    command = f"{sys.executable} {INTEROP / 'hub_as_client.py'}"
    options = (
        "--scenario", scenario, "--spec-version", revision, "-o", str(out), "--timeout", "60000",
    )  # fmt: skip
    done = subprocess.run(
        [str(node), str(script), "client", "--command", command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=SCENARIO_S,
        env=environment(),
    )
    (file,) = out.glob("**/checks.json")
    found = json.loads(file.read_text())
    wrong = [one for one in found if one["status"] in {"FAILURE", "WARNING"}]
    assert not wrong, f"{wrong}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, done.stdout[-3000:]
    return [one["status"] for one in found]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All of them, some at a time, for each starts a hub."""
    folder = tmp_path_factory.mktemp("client")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {
            (revision, one): pool.submit(
                run_scenario, one, revision, folder / f"{revision}-{one.replace('/', '-')}"
            )
            for revision, one in EVERY
        }


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("revision", "scenario"), EVERY)
def test_the_hub_is_the_client_that_the_suite_requires(revision, scenario, runs):
    assert "SUCCESS" in runs[revision, scenario].result()


@pytest.mark.parametrize("revision", SCENARIOS)
def test_none_is_left_out_without_a_reason(revision):
    known = yaml.safe_load((SUITE / "requirements" / f"{revision}.yaml").read_text())
    missing = set(known["client"]) - {one for of, one in EVERY if of == revision}
    assert not missing
    assert set(SCENARIOS[revision]) - set(known["client"]) == {NOT_REQUIRED}


def test_the_list_in_the_reference_is_that_of_the_test():
    heads = ["revision", "scenarios that pass with the hub in the client's seat"]
    rows = [
        [revision, ", ".join(one for of, one in EVERY if of == revision)] for revision in SCENARIOS
    ]
    check("client leg", "\n".join(table(heads, rows)))
