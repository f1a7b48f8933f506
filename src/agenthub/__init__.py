"""AgentHub: one address for AI agents, that keeps tools answering when servers fail."""

__version__ = "0.1.0"
