"""Thinking and calls of models whose template alone tells of them."""

import pytest

from gristmill.runtime.chat.output import Beginning, Call, Parsed, parser_for_go, parser_for_jinja
from gristmill.runtime.chat.output.generic import GenericCalls
from gristmill.runtime.chat.output.thinking import ThinkingParser

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get", "get_all", "say")]


def read(parser, *pieces):
    parsed = Parsed()
    for piece in pieces:
        parsed += parser.feed(piece)
    return parsed + parser.finish()


def think(*pieces, inside=False):
    return read(ThinkingParser("<t>", "</t>", inside=inside), *pieces)


@pytest.mark.parametrize(
    ("pieces", "inside", "expected"),
    [
        (["<t>hm</t>yes"], False, Parsed("yes", "hm")),
        ([" \n<t> hm </t> \n yes "], False, Parsed("yes ", "hm ")),
        (["  yes <t>no</t>"], False, Parsed("  yes <t>no</t>")),
        (["hm</t>yes"], True, Parsed("yes", "hm")),
        (["<", "t", ">", "h", "<", "/t", "x", "</t", ">"], False, Parsed("", "h</tx")),
        (["<t>hm"], False, Parsed("", "hm")),
        (["<t>hm</"], False, Parsed("", "hm</")),
        (["<t"], False, Parsed("<t")),
        (["<t>a</t><t>b</t>"], False, Parsed("<t>b</t>", "a")),
    ],
)
def test_thinking(pieces, inside, expected):
    assert think(*pieces, inside=inside) == expected


def test_content_begins_where_the_closing_tag_ends():
    parser = ThinkingParser("<t>", "</t>")
    states = [(parser.feed(piece), parser.in_thinking)[1] for piece in ("<", "t>hm", "</t", ">", " ", "yes")]
    assert states == [True, True, True, False, False, False]


def calls(tag, *pieces):
    return read(GenericCalls(tag, TOOLS), *pieces)


GET = Call("get", {"a": 1})


@pytest.mark.parametrize(
    ("tag", "pieces", "expected"),
    [
        ("<call>", ['<call>{"name": "get", "arguments": {"a": 1}}</call>'], Parsed(calls=(GET,))),
        ("<call>", ['see: <call>{"name": "get", "arguments": {"a": 1}}</call> more'], Parsed("see: ", "", (GET,))),
        ("<call>", ["just text <ca"], Parsed("just text <ca")),
        ("<call>", ['<call>get {"a": 1}'], Parsed(calls=(GET,))),
        ("<call>", ['<call>{"get": {"a": 1}}'], Parsed(calls=(GET,))),
        ("<call>", ['<call>{"name": "get", "parameters": "{\\"a\\": 1}"}'], Parsed(calls=(GET,))),
        ("<call>", ['<call>{"x": [{"name": "get", "arguments": {"a": 1}}]}'], Parsed(calls=(GET,))),
        ("<call>", ['<call>{"name": "get", "arguments": {}}'], Parsed(calls=(Call("get", {}),))),
        ("<call>", ['<call>{"name": "get_all", "arguments": {"a": 1}}'], Parsed(calls=(Call("get_all", {"a": 1}),))),
        ("<call>", ['<call>{"name": "other", "arguments": {"a": 1}}'], Parsed()),
        ("<call>", ['<call>{"name": "get"'], Parsed()),
        ("<call>", ['<call>get {"a": "}{\\""}'], Parsed(calls=(Call("get", {"a": '}{"'}),))),
        (
            "[CALLS]",
            ['[CALLS] [{"name": "get", "arguments": {"a": 1}}, {"name": "say", "arguments": {"b": 2, "a": 1}}]'],
            Parsed(calls=(GET, Call("say", {"b": 2, "a": 1}))),
        ),
        ("{", ['{"name": "get", "parameters": {"a": 1}}'], Parsed(calls=(GET,))),
        ("{", [" \n{\"name\": \"get\", \"parameters\": {\"a\": 1}} then"], Parsed(" then", "", (GET,))),
        ("{", ['I say {"name": "get", "arguments": {}}'], Parsed('I say {"name": "get", "arguments": {}}')),
        ("{", ['{"answer": 5}'], Parsed('{"answer": 5}')),
        ("{", ['{"answer": 5'], Parsed('{"answer": 5')),
        ("[", ['[{"name": "get", "arguments": {"a": 1}}]'], Parsed(calls=(GET,))),
    ],
)  # fmt: skip
def test_calls(tag, pieces, expected):
    assert calls(tag, *pieces) == expected
    assert calls(tag, *"".join(pieces)) == expected


def test_a_long_object_takes_time_in_proportion_to_its_length(monkeypatch):
    from gristmill.runtime.chat.output import generic

    looked = 0
    object_end = generic.object_end

    def counted(text, start):
        nonlocal looked
        looked += len(text) - start
        return object_end(text, start)

    monkeypatch.setattr(generic, "object_end", counted)
    text = '<call>get {"a": "' + "x" * 20_000 + '"}'
    assert len(calls("<call>", *text).calls) == 1
    assert looked <= 2 * len(text)


JINJA = "{% if tools %}<tool_call>{% endif %}<think></think>"
ASKED = Beginning(tools=TOOLS)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        (JINJA, '<think>hm</think><tool_call>{"name": "get", "arguments": {"a": 1}}</tool_call>', ("", "hm", (GET,))),
        ("<tool_call> <function=", "<tool_call><function=get><parameter=a>1</parameter></function></tool_call>",
         ("", "", (Call("get", {"a": "1"}),))),
        ("[TOOL_CALLS]", '[TOOL_CALLS][{"name": "get", "arguments": {"a": 1}}]', ("", "", (GET,))),
        ("[TOOL_CALLS] [ARGS]", '[TOOL_CALLS]get[ARGS]{"a": 1}', ("", "", (GET,))),
        ("<|start|> <|channel|>", "<|channel|>analysis<|message|>hm<|end|>", ("", "hm", ())),
        ("tools, of no known kind", '{"name": "get", "parameters": {"a": 1}}', ("", "", (GET,))),
    ],
)  # fmt: skip
def test_a_templates_marks_tell_the_family(source, text, expected):
    assert read(parser_for_jinja(source, ASKED, "prompt"), text) == Parsed(*expected)


def test_without_tools_no_calls_are_looked_for():
    text = '<tool_call>{"name": "get", "arguments": {}}</tool_call>'
    assert read(parser_for_jinja(JINJA, Beginning(), ""), text) == Parsed(text)
    assert read(parser_for_go(None, "<tool_call>", Beginning(), ""), text) == Parsed(text)


def test_a_prompt_that_opens_the_thinking_puts_the_answer_inside():
    assert read(parser_for_jinja(JINJA, Beginning(), "so:<think>\n"), "hm</think>yes") == Parsed("yes", "hm")
    assert read(parser_for_jinja(JINJA, Beginning(think=False), "so:<think>\n"), "hm</think>") == Parsed("hm</think>")
