"""What docs/responses.md promises, seen by the official ``openai`` client."""

import json
import re
from pathlib import Path

import pytest
from support.qwen import CALL

from gristmill.runtime.errors import GristmillError
from gristmill.runtime.tokenizer import GUARD

openai = pytest.importorskip("openai", reason="pip install -e '.[acceptance]'")
pydantic = pytest.importorskip("pydantic")

PAGES = Path(__file__).parents[2] / "docs"
QUESTION = "What is the capital of France?"
GREEDY = {"model": "smollm2", "input": QUESTION, "temperature": 0, "max_output_tokens": 24}
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": False,
}


@pytest.fixture
def client(smollm2):
    with openai.OpenAI(base_url=f"{smollm2.url}/v1", api_key="any", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def script(scripted):
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="any", max_retries=0, timeout=120) as client:
        client.says, client.seen = scripted.says, lambda: scripted.prompts[-1][0].replace(GUARD, "")
        yield client


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = client.responses.create(**GREEDY)
    with client.responses.stream(**GREEDY) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == whole.output_text
    assert whole.output_text
    counts = [(a.usage.input_tokens, a.usage.output_tokens) for a in (whole, final)]
    assert counts[0] == counts[1]


def test_instructions_are_a_system_message(client):
    given = client.responses.create(**GREEDY, instructions="Answer in French.")
    items = [{"role": "developer", "content": "Answer in French."}, {"role": "user", "content": QUESTION}]
    assert given.output_text == client.responses.create(**{**GREEDY, "input": items}).output_text
    assert given.instructions == "Answer in French."


def test_the_prompt_is_found_in_the_cache(client):
    """The second time, all of it but the last token may be known."""
    long = {**GREEDY, "input": QUESTION * 40, "max_output_tokens": 2}
    client.responses.create(**long)
    usage = client.responses.create(**long).usage
    assert 0 < usage.input_tokens_details.cached_tokens < usage.input_tokens


def test_an_answer_is_parsed_into_the_clients_own_type(client):
    class City(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        people: int

    answer = client.responses.parse(**GREEDY, text_format=City)
    assert isinstance(answer.output_parsed, City)


def test_any_json_object(client):
    asked = {**GREEDY, "max_output_tokens": 400, "input": "Write a short JSON object."}
    answer = client.responses.create(**asked, text={"format": {"type": "json_object"}})
    assert answer.output_text.lstrip().startswith("{")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "nothing"}, openai.NotFoundError),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, openai.BadRequestError),
        ({"tools": [WEATHER]}, openai.BadRequestError),
        ({"tool_choice": "required"}, openai.BadRequestError),
        ({"reasoning": {"effort": "low"}}, openai.BadRequestError),
    ],
)
def test_errors_are_those_of_the_client(client, fields, error):
    for stream in (False, True):
        with pytest.raises(error):
            client.responses.create(**{**GREEDY, **fields}, stream=stream)


def test_an_empty_input_loads_in_a_stream_as_well(client):
    with client.responses.stream(model="smollm2", input="") as stream:
        assert stream.until_done().get_final_response().output_text == ""


def test_output_goes_back_as_it_came(script):
    script.says("<think>Which city? Ulm.</think>", CALL)
    answer = script.responses.create(model="scripted", input="Weather?", tools=[WEATHER])
    reasoning, call = answer.output
    assert (reasoning.type, call.type, call.arguments) == ("reasoning", "function_call", '{"city":"Ulm"}')
    script.says("<think></think>", "sunny")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    items = [{"role": "user", "content": "Weather?"}, *answer.output, output]
    assert script.responses.create(model="scripted", input=items, tools=[WEATHER]).output_text == "sunny"
    turns = re.findall(r"<\|im_start\|>(\w+)", script.seen())
    assert turns == ["user", "assistant", "tool", "assistant"]
    assert '<tool_call>weather {"city": "Ulm"}' in script.seen()


def test_a_named_function_is_certainly_called(script):
    script.says("<think>hm</think>no", then=['{"name": "weather", "arguments": {"city": "Ulm"}}'])
    choice = {"type": "function", "name": "weather"}
    answer = script.responses.create(model="scripted", input="Hi", tools=[WEATHER], tool_choice=choice)
    assert [item.type for item in answer.output] == ["reasoning", "function_call"]


@pytest.mark.parametrize(("parallel", "n"), [(True, 2), (False, 1)])
def test_parallel_calls_can_be_switched_off(script, parallel, n):
    script.says("<think></think>", CALL, CALL)
    answer = script.responses.create(model="scripted", input="Hi", tools=[WEATHER], parallel_tool_calls=parallel)
    assert [item.type for item in answer.output] == ["function_call"] * n


def test_a_run_that_fails_is_told_by_the_last_event(script):
    script.says("<think></think>", "Hel", GristmillError("broken"))
    *_, last = script.responses.create(model="scripted", input="Hi", stream=True)
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert (last.response.error.code, last.response.error.message) == ("server_error", "broken")


@pytest.mark.parametrize("name", ["responses.md", "anthropic.md"])
def test_the_pages_examples_work(smollm2, name):
    page = PAGES.joinpath(name).read_text()
    examples = re.findall(r"curl http://127\.0\.0\.1:11434(/\S+) -d '(.*?)'", page, re.DOTALL)
    assert examples
    for path, body in examples:
        assert smollm2.json("POST", path, json.loads(body))["usage"]["output_tokens"] > 0
