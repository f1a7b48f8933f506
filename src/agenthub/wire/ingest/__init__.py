"""What programs that ask providers themselves report of it: telemetry, read into usage.

report    what a report says, and its id by which it counts once
otlp      OpenTelemetry's JSON: its resources, records and attributes
logs      Claude Code's and Codex' log records
spans     spans of the conventions for generative AI, under all names that they had
litellm   LiteLLM's standard logging payloads

Reading never fails: what is no report of a call is passed over, what cannot be is made sound.
"""
