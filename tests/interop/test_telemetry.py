"""OpenTelemetry's released SDK tells a real hub what it used, over protobuf, packed and plain."""

import subprocess

import pytest
from support.interop_clients import INSTALLED, INTEROP, environment
from support.serve_hub import serving

CLIENT_S = 60


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("telemetry") / "hub", "--no-demo") as served:
        yield served


@pytest.fixture(scope="module")
def key(hub):
    status, made = hub.ask("POST", "/api/keys", {"name": "agent", "scopes": ["ingest"]})
    assert status == 201, made
    return made["key"]


def tell(hub, key, *what, **more):
    """What the SDK complained of."""
    done = subprocess.run(
        [INSTALLED / "python" / "bin" / "python", INTEROP / "client_telemetry.py", *what],
        capture_output=True, text=True, timeout=CLIENT_S, check=False,
        env={
            **environment(),
            "OTEL_EXPORTER_OTLP_ENDPOINT": hub.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{key}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "10",
            "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
            **more,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def calls(hub, session):
    page = hub.get(f"/api/usage/calls?from=0&to=252999999900&session={session}")
    return sorted((one["input_tokens"], one["output_tokens"]) for one in page["calls"])


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_it_exports_is_in_the_ledger_once(hub, key, compression):
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    packed = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    before = len(calls(hub, "spans")), len(calls(hub, "counters"))
    assert tell(hub, key, "spans", "logs", "counters", **delta, **packed) == ""
    spans = [(10, 5), (10, 6), (10, 7)]
    assert calls(hub, "spans") == sorted(spans * (1 + before[0] // 3))
    assert calls(hub, "logs") == [(103, 4), (103, 4)], "sent again, it is the same"
    assert calls(hub, "counters") == [(7, 9)] * (before[1] + 1)
    (group,) = [
        one
        for one in hub.get("/api/usage/by-source?from=0&to=252999999900")["groups"]
        if one["name"] == "otlp"
    ]
    assert group["calls"] == 3 + before[0]
    assert float(group["cost_usd"]) > 0


def test_totals_are_not_counted_and_the_sdk_is_not_told_to_send_them_again(hub, key):
    before = calls(hub, "counters")
    tell(hub, key, "counters", OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="cumulative")
    assert calls(hub, "counters") == before


def test_a_key_of_another_scope_is_refused_and_the_sdk_says_so(hub):
    _, made = hub.ask("POST", "/api/keys", {"name": "other", "scopes": ["tools"]})
    before = calls(hub, "spans")
    assert "403" in tell(hub, made["key"], "spans")
    assert calls(hub, "spans") == before
