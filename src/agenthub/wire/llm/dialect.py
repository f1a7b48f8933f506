"""The ways in which LLM providers speak. A provider may speak several."""

from enum import Enum


class Dialect(Enum):
    CHAT = "chat"
    """OpenAI's /v1/chat/completions, and all that is compatible with it."""
    RESPONSES = "responses"
    """OpenAI's /v1/responses."""
    MESSAGES = "messages"
    """Anthropic's /v1/messages."""
    EMBEDDINGS = "embeddings"
    """OpenAI's /v1/embeddings."""
    GEMINI = "gemini"
    """Google's generateContent and streamGenerateContent."""
