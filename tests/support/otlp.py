"""Exports of telemetry, as JSON's tree and as protobuf of the same."""

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

REQUESTS = {
    "Logs": ExportLogsServiceRequest, "Metrics": ExportMetricsServiceRequest,
    "Spans": ExportTraceServiceRequest,
}  # fmt: skip
RESPONSES = {
    "Logs": ExportLogsServiceResponse, "Metrics": ExportMetricsServiceResponse,
    "Spans": ExportTraceServiceResponse,
}  # fmt: skip
AT = 1_700_000_000_000_000_000
CLAUDE = {
    "event.name": "api_request", "session.id": "s1", "event.sequence": 4,
    "model": "claude-opus-4-8[1m]", "input_tokens": 10, "cache_read_tokens": 200,
    "cache_creation_tokens": 30, "output_tokens": 7, "cost_usd": 0.0047, "duration_ms": 1200,
}  # fmt: skip
SPAN = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5.5", "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 50, "gen_ai.conversation.id": "c1",
}  # fmt: skip


def pairs(record):
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue", bool: "boolValue"}
    return [
        {"key": key, "value": {kinds[type(v)]: str(v) if type(v) is int else v}}
        for key, v in record.items()
    ]


def export(kind, *records, **resource):
    """Records in one scope of one resource, whose attributes are these."""
    member = {"Logs": "logRecords", "Spans": "spans", "Metrics": "metrics"}[kind]
    shared = {"attributes": pairs(resource)}
    scopes = [{member: list(records)}]
    return {f"resource{kind}": [{"resource": shared, f"scope{kind}": scopes}]}


def log(said, at=AT):
    return {"timeUnixNano": str(at), "attributes": pairs(said)}


def span(said, number="00f067aa0ba902b7", at=AT):
    return {
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": number, "name": "chat",
        "startTimeUnixNano": str(at - 10**9), "endTimeUnixNano": str(at), "attributes": pairs(said),
    }  # fmt: skip


def point(value, at=AT, **said):
    """`value`: a whole number, or not."""
    counted = {"asInt": str(value)} if type(value) is int else {"asDouble": value}
    attributes = {key.replace("_id", ".id"): one for key, one in said.items()}
    times = {"startTimeUnixNano": str(at - 60 * 10**9), "timeUnixNano": str(at)}
    return {**counted, **times, "attributes": pairs(attributes)}


def counter(name, *points, temporality=1, kind="sum"):
    if kind == "histogram":
        points = [
            {**one, "sum": float(one.pop("asInt")), "count": "1", "bucketCounts": ["1"]}
            for one in points
        ]
    return {"name": name, kind: {"aggregationTemporality": temporality, "dataPoints": list(points)}}


def protobuf(kind, tree):
    """The same export. Ids are bytes there, and texts of hexadecimal digits in JSON."""
    message = REQUESTS[kind]()
    ParseDict(_without_ids(tree), message, ignore_unknown_fields=True)
    for place, one in zip(_spans(message), _spans_of(tree), strict=True):
        place.trace_id = bytes.fromhex(one["traceId"])
        place.span_id = bytes.fromhex(one["spanId"])
    return message.SerializeToString()


def _without_ids(tree):
    if isinstance(tree, dict):
        return {k: _without_ids(v) for k, v in tree.items() if k not in {"traceId", "spanId"}}
    return [_without_ids(one) for one in tree] if isinstance(tree, list | tuple) else tree


def _spans(message):
    for resource in getattr(message, "resource_spans", ()):
        for scope in resource.scope_spans:
            yield from scope.spans


def _spans_of(tree):
    for resource in tree.get("resourceSpans", ()):
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]
