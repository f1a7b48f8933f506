"""What LLM providers are asked and what they answer: bytes to values, and nothing is translated.

dialect.py    the five ways of speaking: chat, responses, messages, embeddings, gemini
request.py    a client's request, and the same with another model, byte for byte
member.py     where the members of a JSON object stand in its text
seen.py       what was seen of an answer: usage, model, end, error
chat.py, responses.py, messages.py, gemini.py    what each says, one event at a time
stream.py     a stream on its way to the client, cut as it comes
answer.py     a whole answer
refusal.py    the hub's own errors, in the shape that each SDK expects
"""
