"""What is read from Go templates, and which of two templates a model uses."""

from __future__ import annotations

import pytest

from gristmill.runtime.chat import GoTemplate, prefers_jinja
from gristmill.runtime.chat.go_template.evaluator import execute
from gristmill.runtime.chat.go_template.inspect import (
    GoFacts,
    cut_before_response,
    facts,
    has_tool_round_trip,
    names_used,
    thinking_tags,
    tool_tag,
    uses,
    with_response,
)
from gristmill.runtime.chat.go_template.template import output_limit
from gristmill.runtime.chat.preference import jinja_abilities, jinja_has_tool_round_trip

TOOLS = (
    '{{ .Tools }}{{ range .Messages }}{{ if .ToolCalls }}<call>{ {{ end }}{{ if eq .Role "tool" }}r{{ end }}{{ end }}'
)
THINKS = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}{{ end }}"


def tree(source):
    return GoTemplate(source).tree


@pytest.mark.parametrize(
    "source",
    [
        "{{ .Tools }}",
        "{{ $.Tools }}",
        "{{ if .tools }}{{ end }}",
        "{{ if 0 }}{{ else }}{{ with (index .TOOLS 0).x }}{{ end }}{{ end }}",
        "{{ range $m := .Messages }}{{ $m.Tools }}{{ end }}",
        '{{ define "x" }}{{ json (len (.Tools)) }}{{ end }}',
        '{{ template "x" .Tools }}{{ define "x" }}{{ end }}',
        "{{ ((.Tools).x).y }}",
    ],
)
def test_a_field_is_used_wherever_it_is_read(source):
    assert uses(tree(source), ".Tools")
    assert uses(tree(source), "tools")
    assert not uses(tree(source), ".Tool")


def test_text_and_strings_use_nothing():
    assert names_used(tree('.Tools {{ ".Tools" }}{{/* .Tools */}}{{ $Tools := 1 }}')) == frozenset()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (THINKS, ("<think>", "</think>")),
        (THINKS.replace("if .Thinking", "if and .Thinking (eq .Role `assistant`)"), ("<think>", "</think>")),
        (THINKS.replace("<think>", "\n <a> \n").replace("range", "range $i, $m :="), ("<a>", "</think>")),
        (THINKS.replace(".Thinking", "$m.Thinking").replace("range", "range $m :="), ("<think>", "</think>")),
        (THINKS.replace(".Messages", ".Others"), None),
        (THINKS.replace("<think>", ""), None),
        ("{{ range .Messages }}{{ range .ToolCalls }}a{{ .Thinking }}b{{ end }}{{ end }}", None),
        ("{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ range .Messages }}{{ end }}", None),
        ("{{ .Prompt }}", None),
    ],
)
def test_the_tags_of_thinking_stand_around_it(source, expected):
    assert thinking_tags(tree(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (TOOLS, "<call>"),
        ("{{ range .Messages }}{{ if and .x .ToolCalls }}\n [CALLS] [{{ .x }}{{ end }}{{ end }}", "[CALLS] ["),
        ("{{ if .x }}{{ else if .ToolCalls }}{{ range .ToolCalls }}\n<tc>\n{{ .x }}{{ end }}{{ end }}", "<tc>"),
        ("{{ if .ToolCalls }}{{ $x := 1 }}{{ if $x }}<|python_tag|>{{ end }}{{ end }}", "<|python_tag|>"),
        ('{{ if .ToolCalls }}{"name": {{ .Name }}{{ end }}', "{"),
        ("{{ if .ToolCalls }}{{ .Content }}<tc>{{ end }}", "{"),
        ("{{ if .ToolCalls }}{{ end }}<tc>", "{"),
        ("{{ range .ToolCalls }}<tc>{{ end }}", "{"),
    ],
)  # fmt: skip
def test_the_tag_of_a_call_is_the_first_text_for_calls(source, expected):
    assert tool_tag(tree(source)) == expected


def test_a_tool_round_trip_needs_tools_calls_and_results():
    assert has_tool_round_trip(tree(TOOLS))
    assert has_tool_round_trip(tree(TOOLS.replace('eq .Role "tool"', "eq .Role `x`") + "[TOOL_RESULTS]"))
    for part in (".Tools", ".ToolCalls", 'eq .Role "tool"'):
        assert not has_tool_round_trip(tree(TOOLS.replace(part, ".Other")))


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        ("[{{ .Prompt }}] {{ .Response }}</s>", "[P] ", "[P] R</s>"),
        ("{{ if .Prompt }}{{ if .Response }}a{{ .Response }}b{{ else }}c{{ end }}d{{ end }}e", "a", "aRbde"),
        ("{{ if .None }}x{{ else }}a{{ .Response }}b{{ end }}c", "a", "aRbc"),
        ("{{ if .Response }}a{{ end }}b", "ab", "ab"),
        ("{{ .Prompt }}", "P", "P"),
    ],
)  # fmt: skip
def test_cutting_takes_the_answer_and_what_follows(source, before, after):
    data = {"Prompt": "P", "Response": "R"}
    assert GoTemplate(source).render(data) == after
    assert execute(cut_before_response(tree(source)), data, output_limit(0)) == before


@pytest.mark.parametrize(
    ("source", "expected"),
    [("{{ .Prompt }}", "PR"), ("{{ .Response }}!", "R!"), ("{{ range .messages }}{{ end }}", ""), ("", "R")],
)
def test_a_template_without_a_place_for_the_answer_gets_one(source, expected):
    assert execute(with_response(tree(source)), {"Prompt": "P", "Response": "R"}, output_limit(0)) == expected


def test_all_facts_at_once():
    assert facts(tree(TOOLS)) == GoFacts(
        names=frozenset({"tools", "messages", "toolcalls", "role"}), tool_tag="<call>", tool_round_trip=True
    )
    assert facts(tree(THINKS + "{{ .Suffix }}")).abilities == {"thinking", "insert"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if tools %}", {"tools"}),
        ("message.tool_calls", {"tools"}),
        ("<think></think>", {"thinking"}),
        ("<think>", set()),
        ("{{ content.split('</think>')[-1] }}", {"thinking"}),
        ('{{ content.split("</think>")[-1] }}', {"thinking"}),
        ("content.split('</think>') reasoning_content", set()),
        ("content.split('</think>') <SPECIAL_12>", set()),
    ],
)
def test_abilities_of_jinja_templates(source, expected):
    assert jinja_abilities(source) == expected


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("message['role'] == 'tool'", True),
        ('message["role"]=="tool"', True),
        ("message.role == 'tool'", True),
        ("<tool_response>", True),
        ("[TOOL_RESULTS] tool_results", True),
        ("ipython", True),
        ("message.role == 'toolbox'", False),
        ("", False),
    ],
)
def test_a_round_trip_of_jinja_templates(results, expected):
    assert jinja_has_tool_round_trip("tool_calls " + results) is expected
    assert not jinja_has_tool_round_trip(results.replace("tool_", "x_"))


JINJA_TOOLS = "tools tool_calls <tool_response>"
GO_PLAIN = GoFacts(names=frozenset({"messages"}))
GO_TOOLS = GoFacts(names=frozenset({"tools", "toolcalls"}))
GO_ROUND_TRIP = GoFacts(names=frozenset({"tools", "toolcalls"}), tool_round_trip=True)


@pytest.mark.parametrize(
    ("jinja", "go", "expected"),
    [
        ("plain", GO_PLAIN, False),
        (JINJA_TOOLS, GO_PLAIN, True),
        ("plain", GO_TOOLS, False),
        (JINJA_TOOLS, GO_TOOLS, True),
        ("tools", GO_TOOLS, False),
        (JINJA_TOOLS, GO_ROUND_TRIP, False),
        ("tools <think></think>", GO_TOOLS, True),
        ("tools <think></think>", GO_ROUND_TRIP, False),
        (JINJA_TOOLS + "<think></think>", GO_ROUND_TRIP, True),
        (JINJA_TOOLS, GoFacts(names=frozenset({"suffix"})), False),
    ],
)
def test_jinja_is_preferred_where_it_does_more(jinja, go, expected):
    assert prefers_jinja(jinja, go) is expected
