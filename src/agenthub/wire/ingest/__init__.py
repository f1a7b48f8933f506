"""What programs that ask providers themselves report of it: telemetry, read into usage.

report    what a report says, and its id by which it counts once
otlp      OpenTelemetry's JSON: its resources, records and attributes; and what is answered
protobuf  the same from OpenTelemetry's protobuf
logs      Claude Code's and Codex' log records
metrics   their counters, for those who send no logs
spans     spans of the conventions for generative AI, under all names that they had
litellm   LiteLLM's standard logging payloads

Reading never fails: what is no report of a call is passed over, what cannot be is made sound.
"""
