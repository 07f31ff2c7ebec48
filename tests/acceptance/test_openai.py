"""The official ``openai`` client, as its users use it."""

import pytest
from support.qwen import CALL

openai = pytest.importorskip("openai")

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


@pytest.fixture
def client(smollm2):
    with openai.OpenAI(base_url=f"{smollm2.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def script(scripted):
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="any", max_retries=0) as client:
        client.says = scripted.says
        yield client


def test_a_chat(client):
    answer = client.chat.completions.create(model="smollm2", messages=ASK, temperature=0, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 10


def test_a_streamed_chat_says_the_same(client):
    asked = {"model": "smollm2", "messages": ASK, "temperature": 0, "max_completion_tokens": 16}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices].count("assistant") == 1
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason


def test_several_choices_with_seeds_of_their_own(client):
    asked = {"model": "smollm2", "messages": ASK, "temperature": 1.5, "max_tokens": 12, "seed": 7, "n": 3}
    texts = [choice.message.content for choice in client.chat.completions.create(**asked).choices]
    assert len(set(texts)) > 1
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**asked, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts, "the same seeds give the same texts, one after the other or at once"


def test_a_schema_is_kept(client):
    import json

    answer = client.chat.completions.create(
        model="smollm2",
        messages=ASK,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"city", "people"}


def test_logprobs(client):
    answer = client.chat.completions.create(
        model="smollm2", messages=ASK, temperature=0, max_tokens=3, logprobs=True, top_logprobs=2
    )
    entries = answer.choices[0].logprobs.content
    assert len(entries) == 3
    assert all(entry.top_logprobs[0].logprob == entry.logprob <= 0 for entry in entries)


def test_a_bias_bans_a_token(client):
    asked = {"model": "smollm2", "messages": ASK, "temperature": 0, "max_tokens": 8}
    before = client.chat.completions.create(**asked).choices[0].message.content
    ids = client.post("/tokenize", body={"model": "smollm2", "text": before, "add_special": False}, cast_to=dict)
    again = client.chat.completions.create(**asked, logit_bias={str(ids["tokens"][0]): 0})
    banned = client.chat.completions.create(**asked, logit_bias={str(ids["tokens"][0]): -100})
    assert again.choices[0].message.content == before
    assert banned.choices[0].message.content != before


def test_completions(client):
    asked = {"model": "smollm2", "prompt": ["One,", "Two,"], "max_tokens": 4, "temperature": 0, "logprobs": 1}
    answer = client.completions.create(**asked)
    assert [choice.index for choice in answer.choices] == [0, 1]
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 4
    assert "".join(logprobs.tokens) == answer.choices[0].text


def test_completions_of_token_ids(client):
    ids = client.post("/tokenize", body={"model": "smollm2", "text": "One, two, three,"}, cast_to=dict)["tokens"]
    chunks = list(client.completions.create(model="smollm2", prompt=ids, max_tokens=4, temperature=0, stream=True))
    assert "four" in "".join(chunk.choices[0].text for chunk in chunks)


def test_embeddings(client):
    asked = {"model": "smollm2", "input": ["a", "b"], "dimensions": 8}
    as_text = client.embeddings.create(**asked)  # the client asks for base64 and decodes it
    as_floats = client.embeddings.create(**asked, encoding_format="float")
    assert [len(item.embedding) for item in as_text.data] == [8, 8]
    assert as_text.data[1].embedding == pytest.approx(as_floats.data[1].embedding)


def test_models(client):
    assert [model.id for model in client.models.list()] == ["smollm2:latest"]
    assert client.models.retrieve("smollm2").owned_by == "library"
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.models.retrieve("library/other")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "other"}, openai.NotFoundError),
        ({"messages": []}, openai.BadRequestError),
        ({"temperature": "hot"}, openai.BadRequestError),
        ({"n": 17}, openai.BadRequestError),
        ({"tools": [WEATHER]}, openai.BadRequestError),
        ({"response_format": {"type": "json_schema"}}, openai.BadRequestError),
    ],
)
def test_errors_are_those_of_the_client(client, fields, error):
    with pytest.raises(error):
        client.chat.completions.create(**{"model": "smollm2", "messages": ASK, **fields})


def test_reasoning_and_a_tool_call(script):
    script.says("<think>hm</think>", CALL)
    choice = script.chat.completions.create(model="scripted", messages=ASK, tools=[WEATHER]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert (choice.message.content, choice.message.reasoning) == ("", "hm")
    assert choice.message.tool_calls[0].function.arguments == '{"city":"Ulm"}'


def test_a_streamed_tool_call_and_its_answer(script):
    script.says("<think>hm", "</think>", "see: ", CALL)
    with script.chat.completions.stream(model="scripted", messages=ASK, tools=[WEATHER]) as stream:
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Ulm"}')
    script.says("<think></think>", "sunny")
    answer = {"role": "tool", "tool_call_id": call.id, "content": "sun"}
    called = {"role": "assistant", "content": None, "tool_calls": [call.model_dump(include={"id", "type", "function"})]}
    again = script.chat.completions.create(model="scripted", messages=[*ASK, called, answer], tools=[WEATHER])
    assert again.choices[0].message.content == "sunny"


def test_a_required_call_is_certain(script):
    script.says("<think>hm</think>no", then=['{"name": "weather", "arguments": {"city": "Ulm"}}'])
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = script.chat.completions.create(model="scripted", messages=ASK, tools=[WEATHER], tool_choice=choice)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


def test_responses(client):
    asked = {"model": "smollm2", "input": "What is the capital of France?", "temperature": 0, "max_output_tokens": 16}
    answer = client.responses.create(**asked)
    chat = client.chat.completions.create(model="smollm2", messages=ASK, temperature=0, max_tokens=16)
    assert answer.output_text == chat.choices[0].message.content
    assert answer.status == "completed"
    assert answer.usage.output_tokens > 0


def test_streamed_responses_end_as_whole_ones(script):
    script.says("<think>hm", "</think>", "two ", "words")
    with script.responses.stream(model="scripted", input="hi") as stream:
        events = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == "two words"
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert events[0] == "response.created"
    assert events[-1] == "response.completed"


def test_responses_call_functions(script):
    script.says("<think></think>text", CALL)
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    with script.responses.stream(model="scripted", input="hi", tools=[tool]) as stream:
        final = stream.until_done().get_final_response()
    text, call = final.output
    assert (text.type, call.type, call.arguments) == ("message", "function_call", '{"city":"Ulm"}')
    script.says("<think></think>", "sunny")
    items = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": call.call_id, "name": "weather", "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sun"},
    ]
    assert script.responses.create(model="scripted", input=items, tools=[tool]).output_text == "sunny"
