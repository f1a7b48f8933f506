"""What other programs load to tell the hub of their calls. Needs nothing but Python's own library.

litellm   AgentHubLogger, for LiteLLM's proxy and SDK
courier   posts what is in a spool, and comes again
spool     what was not delivered yet, on disk
"""
