"""The Responses API: items into messages, lines into items and events."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.native_lines import call, chat_line, chat_lines, read

from gristmill.api.answer import whole_chat
from gristmill.api.openai.responses_answer import ResponseEvents, response
from gristmill.api.openai.responses_request import ResponsesRequest, native_request
from gristmill.runtime.errors import InvalidRequest


def native(**body):
    return native_request(read(ResponsesRequest, model="m", **body))


def turns(*items):
    return [
        {k: v for k, v in message.as_dict().items() if v and k != "tool_calls"}
        | ({"calls": [c.function.name for c in message.tool_calls]} if message.tool_calls else {})
        for message in native(input=list(items)).messages
    ]


def test_fields():
    asked = native(input="hi", instructions="Be brief.", max_output_tokens=5, temperature=0.5, top_p=0.3)
    assert [(m.role, m.content) for m in asked.messages] == [("system", "Be brief."), ("user", "hi")]
    assert asked.options == {"temperature": 0.5, "top_p": 0.3, "num_predict": 5}
    assert native(input="hi").options == {"temperature": 1.0}
    assert native(input="").messages == []
    assert native(input="x", reasoning={"effort": "minimal"}).think.value == "low"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "json_schema", "schema": {"type": "object"}}, {"type": "object"}),
        ({"type": "json_object"}, "json"),
        ({"type": "text"}, None),
        (None, None),
    ],
)
def test_formats(given, expected):
    assert native(input="x", text={"format": given} if given else {}).format == expected


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sun"}
USER = {"role": "user", "content": "hi"}
REASONING = {"type": "reasoning", "summary": [], "encrypted_content": "hm"}
WAIT = {"role": "assistant", "content": "Wait."}
TEXT = {"type": "input_text", "text": "a"}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([USER], [{"role": "user", "content": "hi"}]),
        (
            [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}] * 2}],
            [{"role": "system", "content": "aa"}],
        ),
        (
            [USER, CALL, OUTPUT],
            [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "calls": ["f"]},
                {"role": "tool", "content": "sun", "tool_call_id": "c1"},
            ],
        ),
        (
            [{"role": "assistant", "content": "I ask."}, CALL, WAIT, OUTPUT],
            [
                {"role": "assistant", "content": "I ask.\nWait.", "calls": ["f"]},
                {"role": "tool", "content": "sun", "tool_call_id": "c1"},
            ],
        ),
        (
            [REASONING, CALL],
            [{"role": "assistant", "thinking": "hm", "calls": ["f"]}],
        ),
        ([REASONING], [{"role": "assistant", "thinking": "hm"}]),
        (
            [{"role": "assistant", "content": "I ask."}, REASONING, CALL, OUTPUT, USER],
            [
                {"role": "assistant", "content": "I ask.", "thinking": "hm", "calls": ["f"]},
                {"role": "tool", "content": "sun", "tool_call_id": "c1"},
                {"role": "user", "content": "hi"},
            ],
        ),
        (
            [REASONING, CALL, {**REASONING, "encrypted_content": "so"}, WAIT, OUTPUT],
            [
                {"role": "assistant", "content": "Wait.", "thinking": "hm\nso", "calls": ["f"]},
                {"role": "tool", "content": "sun", "tool_call_id": "c1"},
            ],
        ),
        (
            [CALL, {**CALL, "call_id": "c2", "name": "g"}, OUTPUT, {**OUTPUT, "call_id": "c2", "output": [TEXT]}, USER],
            [
                {"role": "assistant", "calls": ["f", "g"]},
                {"role": "tool", "content": "sun", "tool_call_id": "c1"},
                {"role": "tool", "content": "a", "tool_call_id": "c2"},
                {"role": "user", "content": "hi"},
            ],
        ),
        (
            [CALL, OUTPUT, {"role": "assistant", "content": "Sun."}, {"role": "assistant", "content": "Yes."}],
            [
                {"role": "assistant", "calls": ["f"]},
                {"role": "tool", "content": "sun", "tool_call_id": "c1"},
                {"role": "assistant", "content": "Sun."},
                {"role": "assistant", "content": "Yes."},
            ],
        ),
        (
            [{"role": "user", "content": [TEXT, {"type": "input_image", "image_url": "data:image/png;base64,aGk="}]}],
            [{"role": "user", "content": "a", "images": ["aGk="]}],
        ),
        ([{"role": "user", "content": [TEXT, {"type": "input_image"}]}], [{"role": "user", "content": "a"}]),
        ([{"type": "web_search_call"}], []),
    ],
)
def test_items(items, expected):
    assert turns(*items) == expected


def test_tools():
    tools = [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}, {"name": "n.h"}]},
        {"type": "web_search"},
    ]
    asked = native(input="x", tools=tools, tool_choice={"type": "function", "name": "f"})
    assert [tool.function.name for tool in asked.tools] == ["f", "n.g", "n.h"]
    assert asked.tools[0].function.strict
    assert asked.tool_choice == {"type": "function", "function": {"name": "f"}}
    assert native(input="x", tool_choice="required").tool_choice == "required"
    of_chats = {"type": "function", "function": {"name": "f"}}
    assert native(input="x", tool_choice=of_chats).tool_choice == of_chats


def test_allowed_tools_are_those_of_chats():
    named = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}
    function = {"type": "function", "function": {"name": "f"}}
    of_chats = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function]}}
    assert native(input="x", tool_choice=named).tool_choice == of_chats
    assert native(input="x", tool_choice=of_chats).tool_choice == of_chats


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"input": 5}, "input must be a string or array: 5"),
        ({"input": [{"type": "x"}]}, 'input[0]: unknown input item type: "x"'),
        ({"input": [{"content": "a"}]}, "input[0]: input item missing required 'type' field"),
        ({"input": [{"role": "user", "content": [{"type": "y"}]}]}, "input[0]: content[0]: unknown content type: y"),
        ({"input": [{**CALL, "arguments": "["}]}, "failed to parse function call arguments"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "file inputs are not currently supported"),
        ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "text.format: json_schema needs"),
        ({"input": "x", "reasoning": {"effort": "wild"}}, "invalid reasoning value"),
        ({"input": [5]}, "input[0]: expected an object"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0]: content must be a string or array"),
        ({"input": "x", "tools": [{"type": "namespace", "name": "n", "tools": 5}]}, "tools: tools of the namespace"),
        ({"input": "x", "tools": [{"type": "namespace", "name": "n", "tools": [5]}]}, "tools: tools of the namespace"),
        ({"input": "x", "tools": [{"name": "f", "parameters": []}]}, 'tools: parameters of "f" must be an object'),
        ({"input": "x", "tool_choice": {"type": "mcp"}}, "tool_choice: an object must be"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png"}]}]},
            "image URLs are not currently supported",
        ),
    ],
)
def test_what_is_wrong_is_named(body, text):
    with pytest.raises(InvalidRequest) as caught:
        native(**body)
    assert str(caught.value).startswith(text)


def asked(**more):
    return read(ResponsesRequest, model="m", input="x", **more)


def test_a_whole_answer():
    whole = chat_line("yes", "stop", thinking="hm")
    answer = response(asked(instructions="I", metadata={"a": 1}), whole)
    assert [item["type"] for item in answer["output"]] == ["reasoning", "message"]
    assert answer["output"][1]["content"][0]["text"] == "yes"
    assert answer["usage"]["total_tokens"] == 15
    assert (answer["status"], answer["instructions"], answer["reasoning"]) == ("completed", "I", None)


def test_text_beside_calls_is_dropped_in_the_whole_form():
    whole = chat_line("text", "stop", tool_calls=[call("f", 0, a=1), call("g", 1)])
    assert [item["name"] for item in response(asked(), whole)["output"]] == ["f", "g"]
    assert [item["name"] for item in response(asked(parallel_tool_calls=False), whole)["output"]] == ["f"]


def events_of(lines, **more):
    events = ResponseEvents(asked(**more))
    return [*events.start(), *(event for line in lines for event in events.of(line))]


@settings(max_examples=200, deadline=None)
@given(lines=chat_lines())
def test_events_are_in_order_and_add_up(lines):
    events = events_of(lines)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    open_item, n_done, text = None, 0, ""
    for event in events[2:-1]:
        kind = event["type"]
        assert event["output_index"] == n_done
        if kind == "response.output_item.added":
            assert open_item is None
            open_item, text = event["item"]["id"], ""
        else:
            assert open_item is not None
            assert event.get("item_id", open_item) == open_item
        if kind.endswith(".delta"):
            text += event["delta"]
        if kind.endswith((".text.done", "_text.done")):
            assert event["text"] == text
        if kind == "response.function_call_arguments.done":
            assert event["arguments"] == text
            json.loads(text)
        if kind == "response.output_item.done":
            assert event["item"]["id"] == open_item
            open_item, n_done = None, n_done + 1
    assert open_item is None
    output = events[-1]["response"]["output"]
    assert output == [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert output, "there is always an item"
    calls = [c for line in lines for c in line["message"].get("tool_calls", [])]
    made = [item["call_id"] for item in output if item["type"] == "function_call"]
    assert made == [c["id"] for c in calls]


@settings(max_examples=100, deadline=None)
@given(lines=chat_lines(), parallel=st.booleans())
def test_a_stream_says_what_the_whole_answer_says(lines, parallel):
    async def native_lines():
        for line in lines:
            yield line

    asks = {"parallel_tool_calls": parallel}
    whole = response(asked(**asks), asyncio.run(whole_chat(native_lines())))
    streamed = events_of(lines, **asks)[-1]["response"]
    assert said(streamed, "reasoning") == said(whole, "reasoning")
    assert calls_of(streamed) == calls_of(whole)
    if not calls_of(whole):
        assert said(streamed, "message") == said(whole, "message")
    different = {"id", "created_at", "completed_at", "output"}
    assert {k: v for k, v in streamed.items() if k not in different} == {
        k: v for k, v in whole.items() if k not in different
    }


def said(answer, kind):
    """The text of all items of a kind: thinking between texts makes more than one of each in a stream."""
    parts = {"reasoning": "summary", "message": "content"}[kind]
    return "".join(part["text"] for item in answer["output"] if item["type"] == kind for part in item[parts])


def calls_of(answer):
    keys = ("call_id", "name", "arguments")
    return [[item[key] for key in keys] for item in answer["output"] if item["type"] == "function_call"]


def test_a_run_that_fails_says_so_last():
    events = ResponseEvents(asked())
    list(events.start())
    failed = events.failed({"code": "server_error", "message": "gone"})
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["sequence_number"] == 2
