"""LiteLLM against the server at SERVER_URL, by Ollama's API, OpenAI's and Anthropic's. ``test_litellm`` runs this."""

import json
import os

import litellm

SERVER = os.environ["SERVER_URL"]
ASK = [{"role": "user", "content": "How warm is it in Ulm, 7 or 8?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ROUTES = {
    "ollama_chat/scripted": {"api_base": SERVER},
    "openai/scripted": {"api_base": f"{SERVER}/v1", "api_key": "any"},
    "anthropic/scripted": {"api_base": SERVER, "api_key": "any", "max_tokens": 100},
}


def check(model, options):
    whole = litellm.completion(model=model, messages=ASK, **options)
    assert "You said" in whole.choices[0].message.content, whole
    assert whole.usage.completion_tokens > 0
    pieces = litellm.completion(model=model, messages=ASK, stream=True, **options)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text.strip() == whole.choices[0].message.content.strip(), (text, whole)
    called = litellm.completion(model=model, messages=ASK, tools=[WEATHER], **options)
    (call,) = called.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert set(json.loads(call.function.arguments)) == {"city"}


for model, options in ROUTES.items():
    check(model, options)
vectors = litellm.embedding(model="ollama/scripted", input=["a", "b"], api_base=SERVER)
assert len(vectors.data) == 2
try:
    litellm.completion(model="openai/absent", messages=ASK, api_base=f"{SERVER}/v1", api_key="any", num_retries=0)
except litellm.NotFoundError:
    print("ok")
