"""The official ``anthropic`` client, as its users use it."""

import pytest
from support.qwen import CALL

from gristmill.runtime.errors import GristmillError
from gristmill.runtime.tokenizer import GUARD

anthropic = pytest.importorskip("anthropic")

WEATHER = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK = [{"role": "user", "content": "What is the capital of France?"}]
COLD = {"temperature": 0}


@pytest.fixture
def client(smollm2):
    with anthropic.Anthropic(base_url=smollm2.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def script(scripted):
    with anthropic.Anthropic(base_url=scripted.url, api_key="any", max_retries=0) as client:
        client.says, client.seen = scripted.says, lambda: scripted.prompts[-1][0]
        yield client


def test_a_message(client):
    answer = client.messages.create(model="smollm2", max_tokens=32, messages=ASK, system="Be brief.", extra_body=COLD)
    assert answer.content[0].text
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.usage.output_tokens > 0


def test_a_streamed_message_says_the_same(client):
    asked = {"model": "smollm2", "max_tokens": 16, "messages": ASK, "extra_body": COLD}
    with client.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == client.messages.create(**asked).content[0].text
    assert final.stop_reason in ("max_tokens", "end_turn")


def test_tokens_are_counted(client):
    count = client.messages.count_tokens(model="smollm2", messages=ASK).input_tokens
    answer = client.messages.create(model="smollm2", max_tokens=1, messages=ASK)
    assert count == answer.usage.input_tokens


def test_thinking_is_dropped_where_a_model_has_none(client):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = client.messages.create(model="smollm2", max_tokens=2048, messages=ASK, thinking=thinking)
    assert [block.type for block in answer.content] == ["text"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "other"}, anthropic.NotFoundError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"max_tokens": 0}, anthropic.BadRequestError),
        ({"tools": [WEATHER]}, anthropic.BadRequestError),
    ],
)
def test_errors_are_those_of_the_client(client, fields, error):
    with pytest.raises(error) as caught:
        client.messages.create(**{"model": "smollm2", "max_tokens": 8, "messages": ASK, **fields})
    assert caught.value.body["type"] == "error"


def test_blocks_of_a_stream(script):
    script.says("<think>h", "m</think>", "see ", "this", CALL)
    with script.messages.stream(model="scripted", max_tokens=64, messages=ASK, tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream if event.type.startswith("content_block_st")]
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert kinds == ["content_block_start", "content_block_stop"] * 3
    assert final.content[2].input == {"city": "Ulm"}
    assert final.stop_reason == "tool_use"


def test_a_tools_result_goes_back(script):
    script.says("<think></think>", CALL)
    asked = {"model": "scripted", "max_tokens": 64, "tools": [WEATHER]}
    called = script.messages.create(messages=ASK, **asked)
    script.says("<think></think>", "sunny")
    result = {"type": "tool_result", "tool_use_id": called.content[0].id, "content": [{"type": "text", "text": "sun"}]}
    turns = [*ASK, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert script.messages.create(messages=turns, **asked).content[0].text == "sunny"
    assert '<tool_call>weather {"city": "Ulm"}' in script.seen().replace(GUARD, "")


def test_any_tool_makes_a_call_certain(script):
    script.says("<think>hm</think>no", then=['{"name": "weather", "arguments": {"city": "Ulm"}}'])
    answer = script.messages.create(
        model="scripted", max_tokens=64, messages=ASK, tools=[WEATHER], tool_choice={"type": "any"}
    )
    assert answer.content[-1].name == "weather"


def test_parallel_calls_can_be_switched_off(script):
    script.says("<think></think>", CALL, CALL)
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    asked = {"model": "scripted", "max_tokens": 64, "messages": ASK, "tools": [WEATHER], "tool_choice": choice}
    with script.messages.stream(**asked) as stream:
        assert [block.type for block in stream.get_final_message().content] == ["tool_use"]


def test_a_run_that_fails_is_an_error_in_the_stream(script):
    script.says("<think></think>", "Hel", GristmillError("broken"))
    with (
        script.messages.stream(model="scripted", max_tokens=64, messages=ASK) as stream,
        pytest.raises(anthropic.APIStatusError, match="broken") as caught,
    ):
        stream.until_done()
    assert caught.value.body["error"] == {"type": "api_error", "message": "broken"}


def test_turns_that_are_all_ignored_load_in_a_stream_as_well(client):
    turns = [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "x"}}]}]
    with client.messages.stream(model="smollm2", max_tokens=8, messages=turns) as stream:
        assert stream.get_final_message().content == []
