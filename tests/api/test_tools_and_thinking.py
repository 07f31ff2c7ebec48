"""Tools, thinking and formats through the API, with a template as Qwen 3 has one."""

import json

import pytest
from support.qwen import CALL, TEMPLATE
from support.tiny_model import write_tiny_model

from gristmill.runtime.tokenizer import GUARD

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK = [{"role": "user", "content": "How is it in Ulm?"}]


@pytest.fixture(scope="module")
def qwen_gguf(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("gguf") / "qwen.gguf", chat_template=TEMPLATE).read_bytes()


@pytest.fixture
async def qwen(api, qwen_gguf):
    digest, _ = api.service.store.blobs.add(qwen_gguf)
    await api.create("qwen", files={"qwen.gguf": str(digest)})
    api.runners.script = []

    async def chat(*pieces, model="qwen", messages=ASK, stream=True, **fields):
        scripts = [list(pieces)] if not pieces or isinstance(pieces[0], str) else [list(script) for script in pieces]
        await api.json("/api/chat", {"model": model})
        api.runners.last.next_scripts = scripts
        body = {"model": model, "messages": messages, **fields, "stream": stream}
        return await (api.lines if stream else api.json)("/api/chat", body)

    chat.api = api
    return chat


def parts(lines):
    return [
        {key: value for key, value in line["message"].items() if key != "role" and value}
        for line in lines
        if not line["done"]
    ]


async def test_show_lists_what_the_template_can(qwen):
    shown = await qwen.api.json("/api/show", {"model": "qwen"})
    assert shown["capabilities"] == ["tools", "thinking", "completion"]


async def test_thinking_comes_first_and_apart(qwen):
    lines = await qwen("<think>", "hm", " so", "</think>", "\n\n", "fine")
    assert parts(lines) == [{"thinking": "hm"}, {"thinking": " so"}, {"content": "fine"}]
    assert [line["done"] for line in lines] == [False] * 3 + [True]


async def test_thinking_can_be_switched_off(qwen):
    assert parts(await qwen("fine", think=False)) == [{"content": "fine"}]
    assert qwen.api.runners.last.prompts[-1][0].endswith("<think></think>")


async def test_a_call_comes_in_a_line_of_its_own_with_an_id(qwen):
    lines = await qwen("<think>hm</think>", "I ask. ", CALL[:20], CALL[20:], tools=[WEATHER])
    thinking, content, called = parts(lines)
    assert (thinking, content) == ({"thinking": "hm"}, {"content": "I ask."})
    (call,) = called["tool_calls"]
    assert call.pop("id").startswith("call_")
    assert call == {"function": {"index": 0, "name": "weather", "arguments": {"city": "Ulm"}}}
    assert lines[-1]["done_reason"] == "stop"
    assert '"description": "now"' in qwen.api.runners.last.prompts[-1][0]


async def test_without_stream_calls_are_collected(qwen):
    answer = await qwen("<think>hm</think>", CALL, CALL, tools=[WEATHER], stream=False)
    message = answer["message"]
    assert (message["content"], message["thinking"]) == ("", "hm")
    assert [call["function"]["index"] for call in message["tool_calls"]] == [0, 1]


async def test_without_tools_a_call_is_text(qwen):
    assert (await qwen(CALL, stream=False))["message"]["content"] == CALL


async def test_a_tools_answer_goes_back_to_the_model(qwen):
    call = {"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}
    messages = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "call_1"},
    ]
    await qwen("<think></think>fine", messages=messages, tools=[WEATHER])
    prompt = qwen.api.runners.last.prompts[-1][0].replace(GUARD, "")
    assert '<tool_call>weather {"city": "Ulm"}</tool_call>' in prompt
    assert "sunny" in prompt


async def test_a_format_governs_the_content_and_not_the_thinking(qwen):
    lines = await qwen(["<think>", "hm</think>", "x"], ['{"a"', ": 1}"], format="json")
    assert parts(lines) == [{"thinking": "hm"}, {"content": '{"a"'}, {"content": ": 1}"}]
    (first, free, _), (second, governed, _) = qwen.api.runners.last.prompts[-2:]
    assert second == first + "<think>hm</think>"
    assert (free.grammar, governed.grammar.kind) == (None, "json")


async def test_a_required_call_is_certain(qwen):
    call = '{"name": "weather", "arguments": {"city": "Ulm"}}'
    lines = await qwen(["<think>hm</think>", "no"], [call], tools=[WEATHER], tool_choice="required")
    thinking, called = parts(lines)
    assert thinking == {"thinking": "hm"}
    assert called["tool_calls"][0]["function"]["arguments"] == {"city": "Ulm"}
    prompt, sampling, _ = qwen.api.runners.last.prompts[-1]
    assert prompt.endswith("<think>hm</think><tool_call>\n")
    assert json.loads(sampling.grammar.text)["properties"]["arguments"]["required"] == ["city"]


async def test_no_tool_is_offered_with_none(qwen):
    lines = await qwen("<think></think>", CALL, tools=[WEATHER], tool_choice="none")
    assert parts(lines) == [{"content": CALL}]
    assert "<tools>" not in qwen.api.runners.last.prompts[-1][0]


async def test_a_call_that_cannot_be_read_ends_the_stream_with_an_error(qwen):
    await qwen.api.create("named", from_="qwen", parser="qwen3")
    lines = [line async for line in _raw(qwen, "text ", "<tool_call>{no}</tool_call>")]
    assert lines[0]["message"]["content"] == "text"
    assert lines[-1]["error"].startswith("the model wrote a broken tool call")


async def _raw(qwen, *pieces):
    await qwen.api.json("/api/chat", {"model": "named"})
    qwen.api.runners.last.next_scripts = [list(pieces)]
    body = {"model": "named", "messages": ASK, "tools": [WEATHER], "think": False}
    _, _, data = await qwen.api.send("POST", "/api/chat", body)
    for line in data.splitlines():
        yield json.loads(line)


async def test_generate_splits_thinking_too(qwen):
    await qwen()
    qwen.api.runners.last.next_scripts = [["<think>hm</think>", "fine"]]
    answer = await qwen.api.json("/api/generate", {"model": "qwen", "prompt": "hi", "stream": False})
    assert (answer["thinking"], answer["response"]) == ("hm", "fine")


async def test_raw_text_stays_as_it_is(qwen):
    await qwen()
    qwen.api.runners.last.next_scripts = [["<think>hm</think>", "fine"]]
    answer = await qwen.api.json("/api/generate", {"model": "qwen", "prompt": "hi", "raw": True, "stream": False})
    assert answer["response"] == "<think>hm</think>fine"


async def test_a_renderer_that_nobody_knows_is_our_fault(qwen):
    await qwen.api.create("odd", from_="qwen", renderer="abacus")
    status, text = await qwen.api.error("/api/chat", {"model": "odd", "messages": ASK, "stream": False})
    assert (status, text) == (500, 'unknown renderer "abacus"')


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"tools": [WEATHER], "tool_choice": {"function": {"name": "x"}}}, "tool_choice: there is no tool"),
        ({"tool_choice": "required"}, "tool_choice: a call is required"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice: "),
    ],
)
async def test_a_choice_that_cannot_be_made_is_a_400(qwen, fields, text):
    status, error = await qwen.api.error("/api/chat", {"model": "qwen", "messages": ASK, **fields})
    assert status == 400
    assert error.startswith(text)
