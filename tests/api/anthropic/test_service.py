"""The Messages API of a server, in front of runners that follow a script."""

import json
import re

import pytest
from support.event_stream import sent_events
from support.qwen import CALL, TEMPLATE
from support.tiny_model import write_tiny_model

from gristmill.runtime.errors import GristmillError

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
TURNS = [{"role": "user", "content": "Hi"}]
ASK = {"model": "tiny", "max_tokens": 8, "messages": TURNS}
NOTHING = {**ASK, "messages": [{"role": "user", "content": [{"type": "document"}]}]}


async def posted(api, body, path=PATH):
    status, content_type, data = await api.send("POST", path, body)
    assert (status, content_type, data[-1:]) == (200, "application/json", b"\n"), data
    return json.loads(data)


async def refused(api, body, path=PATH):
    status, _, data = await api.send("POST", path, body)
    answer = json.loads(data)
    assert list(answer) == ["type", "error", "request_id"]
    assert re.fullmatch("req_[0-9a-f]{24}", answer["request_id"])
    return status, answer["error"]["type"], answer["error"]["message"]


async def test_a_message_whole_and_streamed(api):
    whole = await posted(api, ASK)
    assert whole["content"] == [{"type": "text", "text": "Hello"}]
    assert (whole["stop_reason"], whole["usage"]) == ("end_turn", {"input_tokens": 3, "output_tokens": 2})
    assert re.fullmatch("msg_[0-9a-f]{24}", whole["id"])
    events = await sent_events(api, PATH, ASK)
    assert [event["type"] for event in events] == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    assert "".join(event["delta"]["text"] for event in events[2:4]) == "Hello"
    assert events[-2]["usage"] == whole["usage"]


async def test_fields_reach_the_sampler(api):
    await posted(api, {**ASK, "max_tokens": 7, "top_k": 3, "stop_sequences": ["x"]})
    _, sampling, _ = api.runners.last.prompts[-1]
    assert (sampling.max_tokens, sampling.top_k, list(sampling.stop)) == (7, 3, ["x"])


async def test_turns_that_are_all_ignored_load_and_answer_in_the_form_that_was_asked_for(api):
    assert (await posted(api, NOTHING))["content"] == []
    events = await sent_events(api, PATH, NOTHING)
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
    assert api.runners.last.prompts == []


async def test_tokens_of_the_prompt_are_counted(api):
    """The runner counts characters."""
    n = (await posted(api, {"model": "tiny", "messages": TURNS}, COUNT))["input_tokens"]
    longer = [{"role": "user", "content": "Hi, I"}]
    assert await posted(api, {"model": "tiny", "messages": longer}, COUNT) == {"input_tokens": n + 3}
    await posted(api, ASK)
    prompt, *_ = api.runners.last.prompts[-1]
    assert n == len(prompt)


async def test_a_model_with_a_system_text_counts_where_all_turns_are_ignored(api):
    await api.create("poet", from_="tiny", system="Rhyme.")
    counted = [(await posted(api, {**NOTHING, "model": name}, COUNT))["input_tokens"] for name in ("tiny", "poet")]
    assert counted[1] > counted[0]


async def test_tools_count_only_for_a_model_that_has_them(api):
    body = {**ASK, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}
    assert await refused(api, body, COUNT) == await refused(api, body)


async def test_the_answers_schema_becomes_a_grammar(api):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    await posted(api, {**ASK, "output_config": {"format": {"type": "json_schema", "schema": schema}}})
    _, sampling, _ = api.runners.last.prompts[-1]
    assert (sampling.grammar.kind, json.loads(sampling.grammar.text)) == ("json_schema", schema)


async def test_thinking_is_dropped_for_a_model_without_it(api):
    answer = await posted(api, {**ASK, "thinking": {"type": "enabled", "budget_tokens": 5}})
    assert [block["type"] for block in answer["content"]] == ["text"]
    await posted(api, {**ASK, "output_config": {"effort": "high"}})


async def test_an_error_before_the_first_event_has_its_status(api):
    api.runners.script = [GristmillError("broken")]
    for body in (ASK, {**ASK, "stream": True}):
        assert await refused(api, body) == (500, "api_error", "broken")


async def test_a_run_that_fails_is_told_by_the_last_event(api):
    api.runners.script = ["Hel", GristmillError("broken")]
    last = (await sent_events(api, PATH, ASK))[-1]
    assert (last["type"], last["error"]) == ("error", {"type": "api_error", "message": "broken"})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "invalid_request_error", "EOF")),
        ({}, (400, "invalid_request_error", "model is required")),
        ({"model": "x"}, (400, "invalid_request_error", "max_tokens is required and must be positive")),
        ({"model": "x", "max_tokens": 1}, (400, "invalid_request_error", "messages is required")),
        ({**ASK, "model": "x"}, (404, "not_found_error", "model 'x' not found")),
        ({**ASK, "metadata": 5}, (400, "invalid_request_error", "metadata: expected object, got int")),
        (
            {**ASK, "tool_choice": {"type": {}}},
            (400, "invalid_request_error", "tool_choice: type {} is none of auto, any, tool, none"),
        ),
        (
            {**ASK, "tools": [{"name": "f"}]},
            (400, "invalid_request_error", "registry.ollama.ai/library/tiny:latest does not support tools"),
        ),
        (
            {**ASK, "model": "x:cloud"},
            (403, "permission_error", "ollama cloud is disabled: remote model is unavailable"),
        ),
    ],
)
async def test_errors_have_anthropics_shape(api, body, expected):
    assert await refused(api, body) == expected


async def test_counting_needs_no_max_tokens_but_turns(api):
    assert await refused(api, {"model": "tiny"}, COUNT) == (400, "invalid_request_error", "messages is required")


@pytest.fixture
async def caller(api, tmp_path):
    """A model with tools and thinking."""
    path = write_tiny_model(tmp_path / "caller.gguf", chat_template=TEMPLATE)
    digest, _ = api.service.store.blobs.add(path.read_bytes())
    await api.create("caller", files={"caller.gguf": str(digest)})
    await api.json("/api/chat", {"model": "caller"})
    return api


@pytest.mark.parametrize(("one", "n_calls"), [(False, 2), (True, 1)])
async def test_parallel_calls_can_be_switched_off(caller, one, n_calls):
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    choice = {"type": "auto", "disable_parallel_tool_use": one}
    body = {**ASK, "model": "caller", "max_tokens": 64, "tools": [tool], "tool_choice": choice}
    caller.runners.last.next_scripts = [["<think></think>", CALL, CALL]] * 2
    whole = await posted(caller, body)
    assert [block["type"] for block in whole["content"]] == ["tool_use"] * n_calls
    events = await sent_events(caller, PATH, body)
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [event["content_block"]["type"] for event in starts] == ["tool_use"] * n_calls
    assert whole["stop_reason"] == events[-2]["delta"]["stop_reason"] == "tool_use"
