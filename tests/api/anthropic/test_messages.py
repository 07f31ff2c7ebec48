"""The Messages API: blocks into messages, lines into blocks and events."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.native_lines import call, chat_line, chat_lines, read

from gristmill.api.answer import whole_chat
from gristmill.api.anthropic.answer import MessageEvents, estimate, message
from gristmill.api.anthropic.request import MessagesRequest, check, native_request
from gristmill.runtime.errors import InvalidRequest

ASK = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}


def native(can_think=True, **body):
    return native_request(read(MessagesRequest, **{"model": "m", "messages": ASK, **body}), can_think=can_think)


def turns(*messages):
    return [
        {k: v for k, v in m.as_dict().items() if v and k != "tool_calls"}
        | ({"calls": [(c.id, c.function.name, c.function.arguments) for c in m.tool_calls]} if m.tool_calls else {})
        for m in native(messages=list(messages)).messages
    ]


def test_fields():
    asked = native(max_tokens=9, temperature=0.5, top_p=0.3, top_k=4, stop_sequences=["x"], system="S")
    assert asked.options == {"num_predict": 9, "temperature": 0.5, "top_p": 0.3, "top_k": 4, "stop": ["x"]}
    assert (asked.messages[0].role, asked.messages[0].content) == ("system", "S")
    assert native(system=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]).messages[0].content == "ab"
    assert native().options == {}


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, "high"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "odd"}}, None),
    ],
)
def test_thinking(fields, think):
    found = native(**fields).think
    assert (found and found.value) == think if think is not False else found.value is False
    assert native(can_think=False, **fields).think is None


USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sun"}]}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"role": "User", "content": "hi"}, [{"role": "user", "content": "hi"}]),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            [{"role": "user", "content": "ab"}],
        ),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, USE]},
            [{"role": "assistant", "thinking": "hm", "calls": [("t1", "f", {"a": 1})]}],
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "so?"}, RESULT]},
            [{"role": "tool", "content": "sun", "tool_call_id": "t1"}, {"role": "user", "content": "so?"}],
        ),
        ({"role": "user", "content": [RESULT]}, [{"role": "tool", "content": "sun", "tool_call_id": "t1"}]),
        ({"role": "user", "content": [{"type": "document"}]}, []),
        ({"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}, []),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": word} for word in ("a", "b")]},
            [{"role": "assistant", "thinking": "b"}],
        ),
        (
            {"role": "assistant", "content": [RESULT, USE, {"type": "text", "text": "so"}]},
            [
                {"role": "assistant", "content": "so", "calls": [("t1", "f", {"a": 1})]},
                {"role": "tool", "content": "sun", "tool_call_id": "t1"},
            ],
        ),
        (
            {"role": "assistant", "content": [USE, {**USE, "id": "t2", "input": None}]},
            [{"role": "assistant", "calls": [("t1", "f", {"a": 1}), ("t2", "f", {})]}],
        ),
        (
            {"role": "user", "content": [{**RESULT, "content": [IMAGE]}]},
            [{"role": "tool", "images": ["aGk="], "tool_call_id": "t1"}],
        ),
        (
            {"role": "user", "content": [{**RESULT, "content": "sun", "is_error": True}]},
            [{"role": "tool", "content": "sun", "tool_call_id": "t1"}],
        ),
        (
            {"role": "user", "content": [IMAGE]},
            [{"role": "user", "images": ["aGk="]}],
        ),
    ],
)
def test_blocks(turn, expected):
    assert [{k: v for k, v in m.items() if k != "content" or v} for m in turns(turn)] == expected


def test_tools():
    tools = [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    asked = native(tools=tools, tool_choice={"type": "any"})
    (tool,) = asked.tools
    assert (tool.function.name, tool.function.strict, asked.tool_choice) == ("f", True, "required")
    named = native(tools=tools, tool_choice={"type": "tool", "name": "f"}).tool_choice
    assert named == {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("fields", [{"output_config": {"format": SCHEMA, "effort": "low"}}, {"output_format": SCHEMA}])
def test_a_schema_for_the_answer(fields):
    assert native(**fields).format == SCHEMA["schema"]
    assert native(output_config={"format": None}).format is None


@pytest.mark.parametrize("given", [5, {}, {"type": "json_schema"}, {"type": "json", "schema": {}}])
def test_a_format_that_is_none_is_refused(given):
    with pytest.raises(InvalidRequest, match=r"output_config\.format: expected"):
        native(output_config={"format": given})


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "auto"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
    ],
)
def test_tool_choice(choice, expected):
    assert native(tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tool_choice": {"type": "some"}}, 'tool_choice: type "some" is none of auto, any, tool, none'),
        ({"tool_choice": {"type": {}}}, "tool_choice: type {} is none of"),
        ({"tool_choice": {"type": "tool"}}, 'tool_choice: the type "tool" needs the name of a tool'),
        ({"tools": [{"name": "f", "input_schema": []}]}, 'invalid input_schema for tool "f"'),
    ],
)
def test_what_is_wrong_with_tools_is_named(fields, text):
    with pytest.raises(InvalidRequest) as caught:
        native(**fields)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"model": ""}, "model is required"),
        ({"max_tokens": 0}, "max_tokens is required and must be positive"),
        ({"max_tokens": 5, "messages": []}, "messages is required"),
    ],
)
def test_what_is_required(body, text):
    with pytest.raises(InvalidRequest, match=text):
        check(read(MessagesRequest, **{"model": "m", "messages": ASK, **body}))


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "tool_use", "name": "f"}, "tool_use block missing required 'id' field"),
        ({"type": "tool_use", "id": "x"}, "tool_use block missing required 'name' field"),
        ({"type": "tool_use", "id": "x", "name": "f", "input": [1]}, "tool_use block's 'input' must be an object"),
        ("text", "messages[0].content[0]: expected an object"),
        ({"type": "image"}, "invalid image source"),
        ({"type": "image", "source": {"type": "url"}}, "invalid image source type: url. Only base64 images are"),
        ({"type": "image", "source": {"type": "base64", "data": "?"}}, "invalid base64 image data"),
        ({"type": "tool_result", "content": [{"type": "image"}]}, "invalid tool_result image source"),
    ],
)
def test_what_is_wrong_in_a_block_is_named(block, text):
    with pytest.raises(InvalidRequest) as caught:
        native(messages=[{"role": "user", "content": [block]}])
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("bad", [{"content": 5}, {"role": "user"}, "text"])
def test_turns_that_are_none(bad):
    with pytest.raises(InvalidRequest, match=r"messages\[0\]"):
        native(messages=[bad])


def test_a_whole_message():
    answer = message("m", chat_line("yes", "stop", thinking="hm", tool_calls=[call("f", 0, a=1)]))
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use"]
    assert (answer["stop_reason"], answer["usage"]) == ("tool_use", {"input_tokens": 10, "output_tokens": 5})
    assert message("m", chat_line("", "length"))["content"] == []
    assert message("m", chat_line("x", "length"))["stop_reason"] == "max_tokens"


def test_one_call_where_more_are_not_wanted():
    whole = chat_line("", "stop", tool_calls=[call("f", 0), call("g", 1)])
    assert [block["name"] for block in message("m", whole, one_call=True)["content"]] == ["f"]
    asked = read(MessagesRequest, model="m", messages=ASK, tool_choice={"disable_parallel_tool_use": True})
    assert asked.one_call
    assert not read(MessagesRequest, model="m", messages=ASK).one_call


def test_the_estimate_is_never_nothing():
    assert (estimate(0), estimate(400)) == (1, 100)


@settings(max_examples=200, deadline=None)
@given(lines=chat_lines(), one_call=st.booleans())
def test_events_are_in_order_and_add_up(lines, one_call):
    made = MessageEvents("m", 8, one_call=one_call)
    events = [*made.start(), *(event for line in lines for event in made.of(line))]
    assert [event["type"] for event in (events[0], *events[-2:])] == ["message_start", "message_delta", "message_stop"]
    blocks, is_open = [], False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "said": ""})
            is_open = True
            continue
        assert is_open
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_stop":
            is_open = False
        else:
            (said,) = (value for key, value in event["delta"].items() if key != "type")
            blocks[-1]["said"] += said
    assert not is_open
    whole = message("m", asyncio.run(whole_chat(native_lines(lines))), one_call=one_call)
    assert joined(blocks, "text") == joined(whole["content"], "text")
    assert joined(blocks, "thinking") == "".join(thoughts_before_text(lines))
    used = [(b["id"], json.loads(b["said"])) for b in blocks if b["type"] == "tool_use"]
    assert used == [(b["id"], b["input"]) for b in whole["content"] if b["type"] == "tool_use"]
    assert (events[-2]["delta"]["stop_reason"], events[-2]["usage"]) == (whole["stop_reason"], whole["usage"])


async def native_lines(lines):
    for line in lines:
        yield line


def joined(blocks, kind):
    return "".join(block.get("said") or block[kind] for block in blocks if block["type"] == kind)


def thoughts_before_text(lines):
    for line in lines:
        yield line["message"].get("thinking", "")
        if line["message"]["content"]:
            return
