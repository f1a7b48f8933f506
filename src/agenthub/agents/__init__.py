"""Agents: a model with tools that answers a message, as a caller of this hub like any other.

Runs ─ start ─► Runner ─► ModelAsker ─┐
  ▲                │                  ├─► gateway
  └─ Desk ◄────────┴─────► ToolUser ──┘
  (events, approvals, what was said)
"""
