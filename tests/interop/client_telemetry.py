"""OpenTelemetry's SDK as it is released: tells what a program used, to OTEL_EXPORTER_OTLP_ENDPOINT.

Spans of the conventions for generative AI, log records as Claude Code writes them, its counters;
each is sent when the program ends. `compression` and the rest come from the environment.
"""

import logging
import sys

from opentelemetry import metrics, trace
from opentelemetry._logs import SeverityNumber, set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def spans() -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = trace.get_tracer("agent", tracer_provider=provider)
    with tracer.start_as_current_span("invoke_agent a") as around:
        around.set_attributes({
            "gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 30,
            "gen_ai.usage.output_tokens": 15,
        })  # fmt: skip
        for number in range(3):
            with tracer.start_as_current_span("chat gpt-5.5") as one:
                one.set_attributes({
                    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-5.5", "gen_ai.conversation.id": "spans",
                    "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5 + number,
                })  # fmt: skip
    provider.shutdown()


def logs() -> None:
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(provider)
    for sequence in range(2):
        provider.get_logger("com.anthropic.claude_code.events").emit(
            body="claude_code.api_request", severity_number=SeverityNumber.INFO,
            timestamp=1_795_600_000_000_000_000 + sequence,
            attributes={
                "event.name": "api_request", "event.sequence": sequence, "session.id": "logs",
                "model": "claude-sonnet-4-5", "input_tokens": 3, "output_tokens": 4,
                "cache_read_tokens": 100, "cache_creation_tokens": 0, "cost_usd": 0.001,
            },
        )  # fmt: skip
    provider.shutdown()


def counters() -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=60_000)
    provider = MeterProvider([reader])
    counter = metrics.get_meter("c", meter_provider=provider).create_counter(
        "claude_code.token.usage"
    )
    for kind, count in (("input", 7), ("output", 9)):
        counter.add(count, {"type": kind, "session.id": "counters", "model": "claude-sonnet-4-5"})
    provider.shutdown()


for name in sys.argv[1:]:
    {"spans": spans, "logs": logs, "counters": counters}[name]()
