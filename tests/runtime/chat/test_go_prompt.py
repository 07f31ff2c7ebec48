"""How Go templates make prompts of conversations: the data they get, turns, answers that have begun, the guard."""

from __future__ import annotations

import msgspec
import pytest

from gristmill.runtime.chat import Renderer, TextGuard, render_go_chat, render_go_generate
from gristmill.runtime.chat.go_chat import GoPrompts, collated
from gristmill.runtime.chat.wire import GoChat
from gristmill.runtime.errors import TemplateError
from gristmill.runtime.tokenizer.guard import GUARD

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
ARGUMENTS = {"n": 1, "city": "<Köln>", "big": (1 << 53) + 1}
CALL = {"id": "c1", "function": {"index": 1, "name": "f", "arguments": ARGUMENTS}}
TOOL = {
    "type": "function",
    "extra": "dropped",
    "function": {
        "name": "f",
        "strict": True,
        "parameters": {
            "type": "object",
            "additionalProperties": False,
            "required": ["city"],
            "properties": {
                "n": {"type": ["integer", "null"], "minimum": 1},
                "city": {"type": "string", "description": "Where", "enum": ["A", 1]},
                "any": True,
            },
        },
    },
}
TOOL_JSON = (
    '{"type":"function","function":{"name":"f","description":"","parameters":{"type":"object","required":["city"],'
    '"properties":{"any":{},"city":{"type":"string","description":"Where","enum":["A",1]},"n":{"type":["integer","null"]}}}}}'
)

CHATML = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
# Leaves a last answer open by itself.
OPEN = (
    "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}<{{ .Role }}>{{ .Content }}"
    '{{ if not (and $last (eq .Role "assistant")) }}</>{{ end }}'
    '{{ if and $last (ne .Role "assistant") }}<assistant>{{ end }}{{ end }}'
)
TURN = "{{ if .System }}S:{{ .System }} {{ end }}{{ if .Prompt }}U:{{ .Prompt }} {{ end }}A:{{ .Response }};"


class InProcess:
    """Stands for the renderer: the same work on the same bytes, no worker process."""

    async def render_go(self, source, request):
        data = msgspec.json.encode(request)
        return GoPrompts(source).prompt(msgspec.json.decode(data, type=type(request)), len(data))


async def prompt(source, messages, **rest):
    return await render_go_chat(InProcess(), source, messages, guard=TextGuard(["<|im_end|>"]), **rest)


async def generate(source, **rest):
    return await render_go_generate(InProcess(), source, guard=TextGuard(["<|im_end|>"]), **rest)


async def of_message(source, message, **rest):
    return await prompt("{{ range .Messages }}" + source + "{{ end }}", [message], **rest)


async def of_tool(source):
    return await prompt("{{ range .Tools }}" + source + "{{ end }}{{ range .Messages }}{{ end }}", [USER], tools=[TOOL])


async def test_a_conversation_goes_through_the_messages():
    system = {"role": "system", "content": "S"}
    assert await prompt(CHATML, [system, USER, ANSWER, {**USER, "content": "Bye"}]) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("think", "expected"),
    [(None, "false||false"), (True, "true|medium|true"), (False, "false||true"), ("high", "true|high|true")],
)
async def test_think_becomes_three_values(think, expected):
    source = "{{ .Think }}|{{ .ThinkLevel }}|{{ .IsThinkSet }}{{ range .Messages }}{{ end }}"
    assert await prompt(source, [USER], think=think) == expected
    assert await generate("{{ .Think }}|{{ .ThinkLevel }}|{{ .IsThinkSet }}", prompt="", think=think) == expected
    insert = "{{ .Think }}|{{ .ThinkLevel }}|{{ .IsThinkSet }}{{ .Suffix }}"
    assert await generate(insert, prompt="a", suffix="!", think=think) == expected + "!"


async def test_a_message_has_its_fields_under_gos_names():
    message = {
        "role": "assistant",
        "content": "c",
        "thinking": "t",
        "images": ["i"],
        "tool_calls": [CALL],
        "tool_name": "n",
        "tool_call_id": "d",
    }
    fields = "{{ .Role }}{{ .Content }}{{ .Thinking }}{{ len .Images }}{{ .ToolName }}{{ .ToolCallID }}"
    assert await of_message(fields, message) == "assistantct1nd"
    calls = "{{ range .ToolCalls }}{{ .ID }} {{ .Function.Name }} {{ eq .Function.Index 1 }}{{ end }}"
    assert await of_message(calls, message) == "c1 f true"
    assert await of_message("{{ .Role }}{{ .Thinking }}{{ .ToolCalls }}{{ .ToolName }}", USER) == "user[]"


async def test_calls_print_as_json_and_large_numbers_stay_exact():
    message = {"role": "assistant", "tool_calls": [CALL]}
    arguments = '{"big":9007199254740993,"city":"\\u003cKöln\\u003e","n":1}'
    for shown in ("", "json", 'printf "%s"'):
        source = "{{ range .ToolCalls }}{{ " + shown + " .Function.Arguments }}{{ end }}"
        assert await of_message(source, message) == arguments
    function = f'{{"index":1,"name":"f","arguments":{arguments}}}'
    assert await of_message("{{ range .ToolCalls }}{{ .Function }}{{ end }}", message) == function
    assert await of_message("{{ .ToolCalls }}", message) == f'[{{"id":"c1","function":{function}}}]'
    ranged = "{{ range .ToolCalls }}{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }},{{ end }}{{ end }}"
    assert await of_message(ranged, message) == "big=9007199254740993,city=<Köln>,n=1,"


async def test_arguments_may_be_text():
    call = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    source = "{{ range .ToolCalls }}{{ .Function.Arguments }}{{ end }}"
    assert await of_message(source, {"role": "assistant", "tool_calls": [call]}) == '{"a": 1}'


async def test_tools_print_as_json_of_the_known_keys():
    for shown in ("{{ . }}", "{{ json . }}", '{{ printf "%v" . }}', '{{ print "" . }}'):
        assert await of_tool(shown) == TOOL_JSON
    assert await prompt("{{ .Tools }}{{ range .Messages }}{{ end }}", [USER], tools=[TOOL]) == f"[{TOOL_JSON}]"
    assert await of_tool("{{ .Function }}") == TOOL_JSON[len('{"type":"function","function":') : -1]


async def test_a_tool_has_its_fields_under_gos_names():
    assert await of_tool("{{ .Type }}{{ .Function.Name }}{{ .Function.Description }}") == "functionf"
    assert await of_tool("{{ with .Function.Parameters }}{{ .Type }}{{ .Required }}{{ len .Properties }}{{ end }}") == (
        'object["city"]3'
    )
    properties = "{{ range $name, $p := .Function.Parameters.Properties }}%s;{{ end }}"
    assert await of_tool(properties % "{{ $name }}:{{ $p.Type }}{{ $p.Description }}{{ $p.Enum }}") == (
        'any:[][];city:stringWhere["A",1];n:[integer null][];'
    )
    assert await of_tool(properties % "{{ toTypeScriptType $p }}{{ len $p.Type }}") == ("any0;string1;number | null2;")


async def test_without_tools_there_are_none():
    source = "{{ if .Tools }}a{{ else }}b{{ end }}{{ .Tools }}{{ range .Messages }}{{ end }}"
    assert await prompt(source, [USER]) == await prompt(source, [USER], tools=[]) == "b<no value>"


async def test_a_field_that_there_is_not_is_an_error():
    with pytest.raises(TemplateError, match="can't evaluate field role in type Message"):
        await of_message("{{ .role }}", USER)


@pytest.mark.parametrize(
    "odd", [{"type": 1, "function": 2}, {"function": {"parameters": {"properties": {"a": {"type": 3}}}}}]
)
async def test_odd_tools_do_no_harm(odd):
    assert (await prompt("{{ .Tools }}{{ range .Messages }}{{ end }}", [USER], tools=[odd])).startswith('[{"type":"')


def test_neighbours_of_one_role_become_one_message():
    first = {"role": "user", "content": "a", "images": ["1"]}
    second = {"role": "user", "content": "b", "images": ["2"]}
    assert collated([first, second, ANSWER]) == [{"role": "user", "content": "a\n\nb", "images": ["1", "2"]}, ANSWER]
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert collated([ANSWER, called, called]) == [{**ANSWER, "tool_calls": [CALL, CALL]}]
    results = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    assert collated(results) == results


async def test_system_texts_are_gathered_and_stay():
    messages = [{"role": "system", "content": "a"}, USER, {"role": "system", "content": "b"}]
    source = "{{ .System }}|{{ range .Messages }}{{ .Content }},{{ end }}"
    assert await prompt(source, messages) == "a\n\nb|a,Hi,b,"


@pytest.mark.parametrize("source", [CHATML, OPEN])
async def test_a_last_assistant_message_begins_the_answer(source):
    begun = {"role": "assistant", "content": "Well, <|im_end|>"}
    text = await prompt(source, [USER, begun])
    assert text == await prompt(source, [USER]) + f"Well, <{GUARD}|im_end|>"


async def test_thinking_that_has_begun_goes_on_where_the_template_leaves_it_open():
    begun = {"role": "assistant", "content": "", "thinking": "Hm"}
    opens = "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ .Thinking }}{{ end }}"
    assert await prompt(opens, [USER, begun]) == "<user>Hi<assistant>Hm"
    assert await prompt(CHATML, [USER, begun]) == await prompt(CHATML, [USER])


async def test_an_assistant_message_with_calls_is_no_beginning():
    messages = [USER, {**ANSWER, "tool_calls": [CALL]}]
    assert await prompt(CHATML, messages) == await prompt(CHATML, [USER]) + "Hello<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("u", "U:0 A:"),
        ("su", "S:0 U:1 A:"),
        ("suau", "S:0 U:1 A:2;U:3 A:"),
        ("uasu", "U:0 A:1;S:2 U:3 A:"),
        ("usau", "U:0 A:;S:1 A:2;U:3 A:"),
        ("uau", "U:0 A:1;U:2 A:"),
        ("ua", "U:0 A:1"),
        ("uaua", "U:0 A:1;U:2 A:3"),
        ("utu", "U:2 A:"),
        ("uu", "U:0\n\n1 A:"),
        ("s", "S:0 A:"),
        ("", "A:"),
    ],
)
async def test_a_template_for_one_turn_is_executed_for_each(roles, expected):
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    messages = [{"role": names[role], "content": str(i)} for i, role in enumerate(roles)]
    assert await prompt(TURN, messages) == expected


async def test_a_template_that_only_prints_the_prompt_gets_the_answers_too():
    assert await prompt("{{ .Prompt }} ", [USER, ANSWER, USER]) == "Hi HelloHi "


async def test_generate_is_a_chat_of_one_question():
    assert await generate(CHATML, prompt="Hi") == await prompt(CHATML, [USER])
    assert await generate(TURN, prompt="Hi", system="Be") == "S:Be U:Hi A:"
    assert await generate(TURN, prompt="Bye", history=[USER, ANSWER]) == "U:Hi A:Hello;U:Bye A:"


async def test_what_goes_between_two_texts():
    source = "{{ if .Suffix }}<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ else }}{{ .Prompt }}{{ end }}"
    assert await generate(source, prompt="a", suffix="b<|im_end|>") == f"<pre>a<suf>b<{GUARD}|im_end|><mid>"
    assert await generate(source, prompt="a") == "a"


async def test_messages_and_tools_are_guarded():
    text = await prompt(
        "{{ range .Tools }}{{ .Function.Name }}{{ end }}|{{ range .Messages }}{{ .Content }}{{ end }}<|im_end|>",
        [{**USER, "content": "<|im_end|>"}],
        tools=[{"function": {"name": "<|im_end|>"}}],
    )
    assert text == f"<{GUARD}|im_end|>|<{GUARD}|im_end|><|im_end|>"


def test_arguments_that_are_nested_too_deeply_are_refused():
    arguments = {"a": 1}
    for _ in range(900):
        arguments = {"a": arguments}
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    with pytest.raises(TemplateError, match="nested too deeply"):
        GoPrompts("{{ .Messages }}").prompt(GoChat(messages=[message]), 0)


@pytest.fixture
async def renderer():
    renderer = Renderer(timeout_s=20.0)
    yield renderer
    await renderer.close()


async def test_the_worker_does_the_same(renderer):
    messages = [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "ü"}]
    for source in (CHATML, OPEN, TURN, "{{ .Messages }}{{ .Tools }}"):
        guard = TextGuard(["<|im_end|>"])
        text = await render_go_chat(renderer, source, messages, guard=guard, tools=[TOOL], think="low")
        assert text == await prompt(source, messages, tools=[TOOL], think="low")
    assert await render_go_generate(renderer, "{{ .Suffix }}", prompt="a", suffix="b", guard=guard) == "b"


async def test_errors_come_back_from_the_worker(renderer):
    with pytest.raises(TemplateError, match=r"^template: :1: unclosed action$"):
        await prompt_of(renderer, "{{ .x")
    with pytest.raises(TemplateError, match="nil pointer evaluating"):
        await prompt_of(renderer, "{{ .x.y }}")
    assert await prompt_of(renderer, "{{ .Prompt }}") == "Hi"


async def test_a_template_is_inspected_in_the_worker(renderer):
    facts = await renderer.inspect_go("{{ range .Messages }}{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}{{ end }}")
    assert facts.uses(".Messages")
    assert facts.abilities == {"thinking"}
    assert facts.thinking_tags == ("<t>", "</t>")
    with pytest.raises(TemplateError, match="unexpected EOF"):
        await renderer.inspect_go("{{ if 1 }}")


async def test_a_template_that_runs_too_long_is_stopped_and_the_next_works():
    hasty = Renderer(timeout_s=0.5)
    try:
        with pytest.raises(TemplateError, match=r"^template ran longer than 0\.5 s$"):
            await prompt_of(hasty, "{{ range 99999 }}{{ range 99999 }}{{ $x := json $.Messages }}{{ end }}{{ end }}")
        assert await prompt_of(hasty, "{{ .Prompt }}") == "Hi"
    finally:
        await hasty.close()


async def prompt_of(renderer, source):
    return await render_go_chat(renderer, source, [USER], guard=TextGuard([]))
