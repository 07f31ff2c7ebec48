"""What docs/openai.md promises, seen by the official client: a real server, a real model, the native kernels."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
from pathlib import Path

import pytest
from support.qwen import TEMPLATE
from support.tiny_model import write_tiny_model

openai = pytest.importorskip("openai", reason="pip install -e '.[acceptance]'")
pydantic = pytest.importorskip("pydantic")

MODEL = "smollm2"
QUESTION = [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}]
GREEDY = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_completion_tokens": 24}
PARAMETERS = {
    "type": "object",
    "properties": {"unit": {"enum": ["c", "f"]}, "day": {"type": "integer", "minimum": 1, "maximum": 31}},
    "required": ["unit", "day"],
    "additionalProperties": False,
}


def tool(name):
    return {"type": "function", "function": {"name": name, "parameters": PARAMETERS}}


@pytest.fixture
def client(smollm2):
    with openai.OpenAI(base_url=f"{smollm2.url}/v1", api_key="any", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def tools(smollm2, tmp_path):
    """The name of a model whose template takes tools. What it says by itself makes no sense."""
    tiny = write_tiny_model(tmp_path / "tiny.gguf", context=2048, chat_template=TEMPLATE)
    smollm2.create("me/tiny:tools", tiny)
    yield "me/tiny:tools"
    assert smollm2.request("DELETE", "/api/delete", {"model": "me/tiny:tools"})[0] == 200


def test_a_model_with_a_namespace_is_found(client, tools):
    found = client.models.retrieve(tools)
    assert (found.id, found.owned_by) == (tools, "me")


def test_a_chat_is_the_same_whole_and_streamed(client):
    whole = client.chat.completions.create(**GREEDY)
    (choice,) = whole.choices
    assert choice.message.content
    assert whole.usage.completion_tokens <= 24
    chunks = list(client.chat.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True}))
    *frames, last = chunks
    assert "".join(frame.choices[0].delta.content or "" for frame in frames) == choice.message.content
    assert [frame.choices[0].delta.role for frame in frames] == ["assistant"] + [None] * (len(frames) - 1)
    assert frames[-1].choices[0].finish_reason == choice.finish_reason
    assert last.choices == []
    assert last.usage.total_tokens == whole.usage.total_tokens
    assert last.usage.prompt_tokens_details.cached_tokens > 0, "the first answer's prompt"


def test_the_clients_own_reader_of_streams_gathers_the_same(client):
    body = {**GREEDY, "max_completion_tokens": 200, "stop": "."}  # the reader raises where an answer was cut
    whole = client.chat.completions.create(**body)
    with client.chat.completions.stream(**body) as stream:
        gathered = stream.get_final_completion()
    assert gathered.choices[0].message.content == whole.choices[0].message.content


def test_a_choice_is_what_its_seed_alone_would_give(client):
    body = {**GREEDY, "temperature": 1.0}
    alone = [client.chat.completions.create(**body, seed=seed).choices[0].message.content for seed in (5, 6, 7)]
    together = client.chat.completions.create(**body, seed=5, n=3)
    assert [choice.message.content for choice in together.choices] == alone
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**body, seed=5, n=3, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == alone


def test_log_probabilities_of_a_chat(client):
    answer = client.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes or b"") for token in tokens).decode() == answer.choices[0].message.content
    for token in tokens:
        assert token.logprob <= 0
        assert token.top_logprobs[0].token == token.token, "greedy: the best one was drawn"
        assert len(token.top_logprobs) == 3


def test_an_answer_is_parsed_into_the_clients_own_type(client):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    ask = [{"role": "user", "content": "Invent a person."}]
    body = {"model": MODEL, "messages": ask, "temperature": 0, "max_tokens": 200}
    answer = client.chat.completions.parse(**body, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person)


@pytest.mark.parametrize(
    ("tool_choice", "names"),
    [("required", {"weather", "time"}), ({"type": "function", "function": {"name": "time"}}, {"time"})],
)
def test_a_call_that_must_come_keeps_to_its_parameters(client, tools, tool_choice, names):
    ask = [{"role": "user", "content": "Weather?"}]
    asked = {"model": tools, "tools": [tool("weather"), tool("time")], "max_tokens": 400, "seed": 1}
    body = {**asked, "messages": ask, "tool_choice": tool_choice, "reasoning_effort": "none"}
    (choice,) = client.chat.completions.create(**body).choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert call.function.name in names
    assert arguments["unit"] in ("c", "f")
    assert 1 <= arguments["day"] <= 31
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**body, stream=True)]
    (streamed,) = [called for delta in deltas for called in delta.tool_calls or []]
    assert streamed.function.arguments == call.function.arguments
    answered = [
        *ask,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "12"},
    ]
    last = client.chat.completions.create(**{**asked, "max_tokens": 4}, messages=answered)
    assert last.usage.completion_tokens <= 4


def test_completions_of_texts_and_of_token_ids(client):
    body = {"model": MODEL, "temperature": 0, "max_tokens": 8}
    one = client.completions.create(**body, prompt="The mill", logprobs=2)
    shown = one.choices[0].logprobs
    assert len(shown.tokens) == len(shown.token_logprobs) == len(shown.top_logprobs) == len(shown.text_offset) == 8
    assert "".join(shown.tokens) == one.choices[0].text
    for at, token in zip(shown.text_offset, shown.tokens, strict=True):
        assert one.choices[0].text[at:].startswith(token)
    several = client.completions.create(**body, prompt=["The mill", "The sea"])
    assert [choice.index for choice in several.choices] == [0, 1]
    assert several.choices[0].text == one.choices[0].text
    streamed = "".join(c.choices[0].text for c in client.completions.create(**body, prompt="The mill", stream=True))
    assert streamed == one.choices[0].text
    from_ids = client.completions.create(**body, prompt=[504, 3060])
    assert (from_ids.usage.prompt_tokens, from_ids.usage.completion_tokens) == (2, 8)


def test_vectors_as_numbers_and_in_base64(client):
    body = {"model": MODEL, "input": ["The mill", "The sea"]}
    numbers = client.embeddings.create(**body, encoding_format="float").data
    unpacked = client.embeddings.create(**body).data  # the client asks for base64 and unpacks it
    assert [list(item.embedding) for item in unpacked] == [pytest.approx(item.embedding) for item in numbers]
    packed = client.embeddings.create(**body, encoding_format="base64").data[0].embedding
    assert len(base64.b64decode(packed)) == 4 * len(numbers[0].embedding)
    short = client.embeddings.create(model=MODEL, input=[504, 3060], dimensions=8, encoding_format="float")
    assert len(short.data[0].embedding) == 8
    assert sum(x * x for x in short.data[0].embedding) == pytest.approx(1, abs=1e-5)


def test_a_runner_that_dies_is_an_error_in_the_stream(smollm2, client):
    body = {"model": MODEL, "messages": QUESTION, "seed": 1, "stream": True}
    endless = {"max_tokens": 4000, "logit_bias": {"2": -100}}  # the token that ends a turn
    stream = client.chat.completions.create(**body, **endless)
    next(stream)
    for pid in smollm2.runner_pids():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="unexpectedly stopped"):
        list(stream)
    assert client.chat.completions.create(**GREEDY).choices[0].message.content


def test_the_pages_examples_work(smollm2):
    page = (Path(__file__).parents[2] / "docs" / "openai.md").read_text()
    examples = re.findall(r"curl http://127\.0\.0\.1:11434(/\S+) -d '(.*?)'", page, re.DOTALL)
    assert len(examples) == 4
    for path, body in examples:
        answer = smollm2.json("POST", path, {"seed": 1, **json.loads(body)})
        assert answer["usage"]["total_tokens"] > 0


def test_a_compressed_body_is_refused_with_the_way_out(smollm2):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", smollm2.port, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", b"\x1f\x8b", {"Content-Encoding": "gzip"})
        response = connection.getresponse()
        assert response.status == 415
        assert "send the body as it is" in json.loads(response.read())["error"]["message"]
