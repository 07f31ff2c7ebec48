"""Chat completion requests become native chat requests, field by field."""

import pytest
from support.native_lines import read

from gristmill.api.openai.chat import chat_requests
from gristmill.api.openai.schema import ChatCompletionRequest
from gristmill.runtime.errors import InvalidRequest

HELLO = [{"role": "user", "content": "Hi"}]
DEFAULTS = {"temperature": 1.0, "top_p": 1.0}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
NAMED_SCHEMA = {"name": "n", "strict": True, "schema": SCHEMA}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}}


def native(**body):
    (request,) = chat_requests(read(ChatCompletionRequest, **{"model": "m", "messages": HELLO, **body}))
    return request


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, {}),
        ({"max_tokens": 7}, {"num_predict": 7}),
        ({"max_completion_tokens": 8}, {"num_predict": 8}),
        ({"max_tokens": 7, "max_completion_tokens": 8}, {"num_predict": 8}),
        ({"max_tokens": None, "temperature": None}, {}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0}, {"top_p": 0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"seed": 3}, {"seed": 3}),
        ({"stop": "x"}, {"stop": ["x"]}),
        ({"stop": ["x", 5, None, "y"]}, {"stop": ["x", "y"]}),
        ({"stop": None}, {}),
        ({"frequency_penalty": 0.5, "presence_penalty": -1}, {"frequency_penalty": 0.5, "presence_penalty": -1}),
        ({"top_k": 4, "min_p": 0.1}, {"top_k": 4, "min_p": 0.1}),
        ({"repetition_penalty": 1.2}, {"repeat_penalty": 1.2}),
        ({"repetition_penalty": 1.2, "repeat_penalty": 1.3}, {"repeat_penalty": 1.3}),
        ({"options": {"num_ctx": 99, "temperature": 0.3}}, {"num_ctx": 99, "temperature": 0.3}),
        ({"options": {"temperature": 0.3}, "temperature": 0.4}, {"temperature": 0.4}),
        ({"num_ctx": 99, "user": "u", "metadata": {}, "store": True, "service_tier": "x", "functions": []}, {}),
    ],
)
def test_fields_become_options(body, options):
    assert native(**body).options == {**DEFAULTS, **options}


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({}, "format", None),
        ({"response_format": None}, "format", None),
        ({"response_format": {}}, "format", None),
        ({"response_format": {"type": "text"}}, "format", None),
        ({"response_format": {"type": " JSON_Object "}}, "format", "json"),
        ({"response_format": {"type": "json_schema", "json_schema": NAMED_SCHEMA}}, "format", SCHEMA),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs", 3),
        ({"logprobs": True}, "logprobs", True),
        ({"logit_bias": {"5": -100}}, "logit_bias", {"5": -100}),
        ({"keep_alive": "5m"}, "keep_alive_s", 300),
        ({"keep_alive": 0}, "keep_alive_s", 0),
        ({}, "keep_alive_s", None),
        ({}, "tool_choice", "auto"),
        ({"tool_choice": "required"}, "tool_choice", "required"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            *("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ),
        ({"_debug_render_only": True}, "debug_render_only", True),
    ],
)
def test_other_fields_keep_their_meaning(body, field, value):
    assert getattr(native(**body), field) == value


def test_tools_are_passed_on_as_they_are():
    (tool,) = native(tools=[TOOL]).tools
    function = tool.function
    assert (tool.type, function.name, function.parameters, function.strict) == ("function", "f", SCHEMA, True)
    assert function.description == "d"


@pytest.mark.parametrize(
    ("body", "think"),
    [
        ({}, None),
        ({"reasoning_effort": ""}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning_effort": "medium"}, "medium"),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "max"}, "max"),
        ({"reasoning_effort": "xhigh"}, "max"),
        ({"reasoning_effort": "ultra"}, "max"),
        ({"reasoning": {"effort": "high"}}, "high"),
        ({"reasoning": {"effort": "none"}, "reasoning_effort": "high"}, False),
        ({"reasoning": {}, "reasoning_effort": "high"}, None),
        ({"reasoning": None, "reasoning_effort": "high"}, "high"),
    ],
)
def test_effort_becomes_think(body, think):
    found = native(**body).think
    assert (None if found is None else found.value) == think


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": []}, "[] is too short - 'messages'"),
        ({"messages": None}, "[] is too short - 'messages'"),
        (
            {"reasoning_effort": "some"},
            'invalid reasoning value: "some" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max", '
            'or "none")',
        ),
        ({"response_format": {"type": "xml"}}, 'response_format: type "xml" is none of text, json_object, json_schema'),
        ({"response_format": {"type": 5}}, 'response_format: type "5" is none of text, json_object, json_schema'),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format: json_schema needs a JSON schema, an object, in json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": "{}"}}},
            "response_format: json_schema needs a JSON schema, an object, in json_schema.schema",
        ),
        ({"response_format": "json"}, "response_format: expected object, got str"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage: expected bool, got str"),
        ({"stream_options": True}, "stream_options: expected object, got bool"),
        ({"n": 0}, "n: expected int >= 1"),
        ({"n": 17}, "n: expected int <= 16"),
        ({"max_tokens": "5"}, "max_tokens: expected int | null, got str"),
        ({"stop": 5}, "stop: expected str | array | null, got int"),
        ({"logit_bias": [1]}, "logit_bias: expected object, got array"),
        ({"tool_choice": 5}, "tool_choice: expected str | object, got int"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls: expected bool, got str"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_fields_name(body, text):
    with pytest.raises(InvalidRequest) as raised:
        native(**body)
    assert str(raised.value) == text


@pytest.mark.parametrize(
    ("body", "seeds"),
    [
        ({"seed": 5}, [5, 6, 7]),
        ({"options": {"seed": 1}}, [1, 2, 3]),
        ({"seed": -1}, [-1, -1, -1]),
        ({}, [None, None, None]),
    ],
)
def test_each_choice_is_a_run_with_a_seed_of_its_own(body, seeds):
    requests = chat_requests(read(ChatCompletionRequest, model="m", messages=HELLO, n=3, **body))
    assert [request.options.get("seed") for request in requests] == seeds
    assert requests[1].messages == requests[0].messages


def test_a_prompt_is_shown_once_whatever_n_is():
    assert native(n=3, _debug_render_only=True).debug_render_only
