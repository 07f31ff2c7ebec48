"""OpenAI's messages become native ones, part by part."""

import pytest
from support.native_lines import read

from gristmill.api.openai.messages import native_messages
from gristmill.api.openai.schema import ChatCompletionRequest
from gristmill.runtime.errors import InvalidRequest

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
NATIVE_CALL = {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}


def text(words):
    return {"type": "text", "text": words}


def native(*messages):
    found = native_messages(read(ChatCompletionRequest, messages=list(messages)).messages)
    return [message.as_dict() for message in found]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "Hi"}, [{"role": "user", "content": "Hi"}]),
        ({"role": "developer", "content": "Hi"}, [{"role": "system", "content": "Hi"}]),
        ({"role": "other", "content": "Hi"}, [{"role": "other", "content": "Hi"}]),
        (
            {"role": "assistant", "content": "Hi", "reasoning": "hm"},
            [{"role": "assistant", "content": "Hi", "thinking": "hm"}],
        ),
        (
            {"role": "user", "content": [text("a"), text("b")]},
            [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        ),
        ({"role": "user", "content": []}, [{"role": "user", "content": ""}]),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            [{"role": "assistant", "content": "", "tool_calls": [NATIVE_CALL]}],
        ),
        (
            {"role": "assistant", "content": [text("a"), text("b")], "tool_calls": [CALL]},
            [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": [NATIVE_CALL]}],
        ),
        (
            {"role": "tool", "content": "12", "name": "n", "tool_call_id": "c1"},
            [{"role": "tool", "content": "12", "tool_name": "n", "tool_call_id": "c1"}],
        ),
    ],
)
def test_one_message(message, expected):
    assert native(message) == expected


@pytest.mark.parametrize("kind", ["image/jpeg", "image/jpg", "image/png", "image/webp", ""])
def test_pictures_come_as_data(kind):
    url = f"data:{kind};base64,AAAA"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "image_url", "image_url": url}]
    expected = {"role": "user", "content": "", "images": ["AAAA"]}
    assert native({"role": "user", "content": parts}) == [expected, expected]


def test_a_tools_answer_is_named_by_the_last_call_with_its_id():
    later = {**CALL, "function": {"name": "time", "arguments": "{}"}}
    *_, answer, unknown = native(
        {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        {"role": "assistant", "tool_calls": [later]},
        {"role": "tool", "content": "12", "tool_call_id": "c1"},
        {"role": "tool", "content": "12", "tool_call_id": "c3"},
    )
    assert answer["tool_name"] == "time"
    assert "tool_name" not in unknown


def test_several_calls_are_numbered():
    (message,) = native({"role": "assistant", "tool_calls": [CALL, CALL]})
    assert [call["function"].get("index", 0) for call in message["tool_calls"]] == [0, 1]


def audio(value):
    return {"content": [{"type": "input_audio", "input_audio": value}]}


def picture(url):
    return {"content": [{"type": "image_url", "image_url": url}]}


def arguments(text):
    return {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": text}}]}


URLS = "image URLs are not currently supported, please use base64 encoded data instead"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({}, "invalid message content type: <nil>"),
        ({"content": None}, "invalid message content type: <nil>"),
        ({"content": 5}, "invalid message content type: float64"),
        ({"content": True}, "invalid message content type: bool"),
        ({"content": {"type": "text"}}, "invalid message content type: map[string]interface {}"),
        ({"content": ["a"]}, "invalid message format"),
        ({"content": [{"type": "video"}]}, "invalid message format"),
        ({"content": [{"type": "text", "text": 5}]}, "invalid message format"),
        ({"content": [{"type": "image_url"}]}, "invalid message format"),
        (picture({"url": "https://x.example/a.png"}), URLS),
        (picture("http://x.example/a.png"), URLS),
        (picture("file:///a.png"), "invalid image input"),
        (picture("data:image/gif;base64,AAAA"), "invalid image input"),
        (picture("data:image/png;base64,A"), "invalid image input"),
        (picture("data:image/png;base64,"), "invalid image input"),
        (picture("data:image/png;base64,\u00e4"), "invalid image input"),
        (audio("x"), "invalid input_audio format"),
        (audio({"format": "wav"}), "invalid input_audio format: missing data"),
        (audio({"data": "?"}), "invalid input_audio base64 data: illegal base64 data"),
        (audio({"data": "AAAA"}), "input_audio: this version cannot listen; send the words as text"),
        (arguments(""), "invalid tool call arguments"),
        (arguments("[]"), "invalid tool call arguments"),
        (arguments("{"), "invalid tool call arguments"),
        (arguments('{"a":' * 5000), "invalid tool call arguments"),
        (
            {"tool_calls": [{"function": {"arguments": {}}}]},
            "messages[0].tool_calls[0].function.arguments: expected str, got object",
        ),
    ],
)
def test_what_is_no_message_is_refused(message, error):
    with pytest.raises(InvalidRequest) as raised:
        native({"role": "user", **message})
    assert str(raised.value) == error
