"""What templates are given, and what becomes of messages and tool calls."""

from __future__ import annotations

import pytest

from gristmill.runtime.chat import JinjaTemplate, TextGuard, chat_data, plain_prompt, render_chat
from gristmill.runtime.chat.prompt import CHATML_TEMPLATE
from gristmill.runtime.errors import InvalidRequest, TemplateError
from gristmill.runtime.tokenizer.guard import GUARD

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"city": "Köln", "n": 1}}}


class InProcess:
    """Stands for the renderer: same results, no worker process."""

    async def render(self, source, data):
        return JinjaTemplate(source).render(data)


async def prompt(source, messages, **rest):
    return await render_chat(InProcess(), source, messages, guard=TextGuard(["<|im_end|>"]), **rest)


def test_the_variables_are_hugging_faces():
    assert chat_data([USER], bos_token="<s>", eos_token="</s>") == {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }


def test_an_empty_list_of_tools_is_none():
    assert chat_data([USER], tools=[])["tools"] is None
    assert chat_data([USER], tools=[{"type": "function"}])["tools"] == [{"type": "function"}]


@pytest.mark.parametrize(
    ("think", "expected"),
    [
        (None, {}),
        (True, {"enable_thinking": True}),
        (False, {"enable_thinking": False}),
        ("low", {"enable_thinking": True, "reasoning_effort": "low"}),
    ],
)
def test_think_becomes_a_switch_and_a_level(think, expected):
    data = chat_data([USER], think=think)
    assert {key: data[key] for key in ("enable_thinking", "reasoning_effort") if key in data} == expected


def test_tool_calls_take_openais_shape():
    message = {"role": "assistant", "content": None, "tool_calls": [CALL], "thinking": "hm", "images": ["x"]}
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": CALL["function"]["arguments"]}}
    assert chat_data([message])["messages"] == [{"role": "assistant", "content": "", "tool_calls": [call]}]
    as_text = chat_data([message], text_arguments=True)["messages"][0]["tool_calls"][0]
    assert as_text["function"]["arguments"] == '{"city":"Köln","n":1}'


def test_tool_results_keep_their_name_and_id():
    message = {"role": "tool", "content": "ok", "tool_name": "f", "tool_call_id": "call_1"}
    assert chat_data([message])["messages"] == [
        {"role": "tool", "content": "ok", "tool_call_id": "call_1", "name": "f"}
    ]


def test_without_a_template_the_prompt_is_what_was_sent():
    assert plain_prompt("", "Once") == "Once"
    assert plain_prompt("Be brief.", "Once") == "Be brief.\n\nOnce"


async def test_messages_and_tools_are_guarded():
    text = await prompt("{{ tools[0].x }}|{{ messages[0].content }}<|im_end|>", [{**USER, "content": "<|im_end|>"}],
                        tools=[{"x": "<|im_end|>"}])  # fmt: skip
    assert text == f"<{GUARD}|im_end|>|<{GUARD}|im_end|><|im_end|>"


async def test_a_last_assistant_message_begins_the_answer():
    text = await prompt(CHATML_TEMPLATE, [USER, {"role": "assistant", "content": "Well, <|im_end|>"}])
    assert text == f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell, <{GUARD}|im_end|>"


async def test_two_assistant_messages_at_the_end_are_refused():
    answer = {"role": "assistant", "content": "x"}
    with pytest.raises(InvalidRequest, match="two assistant messages"):
        await prompt(CHATML_TEMPLATE, [USER, answer, answer])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("arguments | tojson", '{"city": "Köln", "n": 1}'), ("arguments + ''", '{"city":"Köln","n":1}')],
)
async def test_arguments_are_an_object_or_text_as_the_template_needs(expression, expected):
    source = (
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function."
        + expression
        + " }}{% endfor %}{% endfor %}"
    )
    assert await prompt(source, [{"role": "assistant", "tool_calls": [CALL]}, USER]) == expected


async def test_a_template_that_fails_either_way_tells_its_reason():
    with pytest.raises(TemplateError, match="no tools here"):
        await prompt("{{ raise_exception('no tools here') }}", [{"role": "assistant", "tool_calls": [CALL]}, USER])


TYPED = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
)


async def test_a_template_that_wants_typed_parts_gets_them():
    """With a text it would print nothing of the question; models that see often have such templates."""
    assert await prompt(TYPED, [USER]) == "user: Hi<|im_end|>"
    messages = [USER, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": " again "}]
    assert await prompt(TYPED, messages) == "user: Hi<|im_end|>assistant: Ho<|im_end|>user:  again <|im_end|>"


async def test_a_template_that_never_prints_the_question_stays_as_it_is():
    assert await prompt("{{ messages | length }}", [USER]) == "1"
    assert await prompt("{{ messages[0]['content'] | upper }}", [USER]) == "HI"
    assert await prompt("{{ messages[0]['content'].upper() }}", [USER]) == "HI"  # a list has no upper
