"""Go templates of random text: whatever comes in, an answer or a TemplateError comes out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.runtime.chat import GoTemplate
from gristmill.runtime.chat.go_chat import GoPrompts
from gristmill.runtime.chat.go_template import evaluator
from gristmill.runtime.chat.go_template.formatting import printf
from gristmill.runtime.chat.go_template.inspect import cut_before_response, facts, with_response
from gristmill.runtime.chat.go_template.lexer import tokenize
from gristmill.runtime.chat.go_template.values import ValueFault
from gristmill.runtime.chat.wire import GoChat
from gristmill.runtime.errors import TemplateError

REAL = """\
{{- range $i, $m := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|user|>{{ .Content | printf "%q" }}
{{- else if .ToolCalls }}<call>{{ range .ToolCalls }}{{ json .Function.Arguments }}{{ break }}{{ end }}
{{- else }}{{ with .Thinking }}{{ . }}{{ else }}-{{ end }}{{ end }}{{ if not $last }}<end>{{ end }}{{ end }}
{{- define "x" }}{{ . }}{{ end }}{{ template "x" .Think }}{{ block "y" 'a' }}{{ . }}{{ end }}{{/* c */}}"""
PIECES = re.findall(r"\{\{-?|-?\}\}|\w+|[^\w\s]|\s+", REAL)
DATA = {"Messages": [{"Role": "user", "Content": "é"}, {"Role": "assistant", "ToolCalls": []}], "Think": True}

texts = st.text(max_size=80)
# Text of what templates are made of, and a real one with some pieces changed.
likely = st.lists(st.sampled_from(PIECES) | texts, max_size=30).map("".join)


@st.composite
def mutations(draw):
    pieces = list(PIECES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(pieces) - 1))
        pieces[at : at + draw(st.integers(0, 3))] = draw(st.lists(st.sampled_from(PIECES), max_size=2))
    return "".join(pieces)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(evaluator, "MAX_STEPS", 5_000)


def test_what_is_mutated_is_a_template():
    assert GoTemplate(REAL).render(DATA) == '<|user|>"é"<end>-true97'


@given(texts | likely | mutations())
@settings(max_examples=500)
def test_a_source_renders_or_is_refused(source):
    try:
        template = GoTemplate(source)
    except TemplateError:
        return
    facts(template.tree)
    for tree in (template.tree, with_response(template.tree), cut_before_response(template.tree)):
        try:
            text = evaluator.execute(tree, DATA, 10_000)
        except TemplateError:
            continue
        assert text.isascii() or text.encode()


@given(likely | mutations())
def test_a_conversation_gets_a_prompt_or_the_source_is_refused(source):
    try:
        prompt = GoPrompts(source).prompt(GoChat(messages=[{"role": "user", "content": "x"}]), 0)
    except TemplateError:
        return
    assert isinstance(prompt, str)


@given(st.lists(texts.filter(lambda text: "{" not in text and "}" not in text), min_size=1, max_size=6), st.data())
def test_trimming_takes_white_space_and_nothing_else(parts, data):
    marks = st.sampled_from(["{{ `` }}", "{{- `` }}", "{{ `` -}}", "{{- `` -}}", "{{- /* c */ -}}"])
    source = parts[0] + "".join(data.draw(marks) + part for part in parts[1:])
    text = GoTemplate(source).render({})
    assert re.sub(r"[ \t\r\n]", "", text) == re.sub(r"[ \t\r\n]", "", "".join(parts))


@given(texts.filter(lambda text: "{{" not in text))
def test_text_without_actions_is_itself(text):
    assert GoTemplate(text).render({}) == text


@given(texts | likely | mutations())
def test_tokens_are_the_source_in_order(source):
    end = 0
    for token in tokenize(source):
        assert token.kind in ("error", "eof") or source.startswith(token.text, token.pos)
        assert token.kind == "error" or token.pos >= end
        end = token.pos + len(token.text)


@given(st.text(max_size=40))
def test_a_string_literal_is_its_value(text):
    quoted = GoTemplate("{{ printf `%q` .S }}").render({"S": text})
    assert GoTemplate("{{ " + quoted + " }}").render({}) == text


@given(
    st.text("%[]*.+-# 0129dsvqxXgeftTUc", max_size=20), st.lists(st.integers() | st.floats() | st.text() | st.none())
)
def test_a_format_gives_text_or_is_refused(format, values):
    width_is_large = re.search("[0-9]{5}", format) or any(isinstance(v, int) and abs(v) > 10_000 for v in values)
    try:
        text = "".join(printf(format, values))
    except ValueFault:
        assert width_is_large
    else:
        assert "%" in format or text.startswith(format)


@given(
    st.integers(-(1 << 62), 1 << 62), st.sampled_from("dxXob"), st.integers(1, 30), st.sampled_from(["", "-", "0", "+"])
)
def test_integers_are_formatted_as_python_does(value, verb, width, flags):
    as_python = {"": ">", "-": "<", "0": "0", "+": ">+"}[flags]
    assert "".join(printf(f"%{flags}{width}{verb}", [value])) == format(value, f"{as_python}{width}{verb}")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("feE"), st.integers(0, 12))
def test_floats_are_formatted_as_python_does(value, verb, precision):
    assert "".join(printf(f"%.{precision}{verb}", [value])) == format(value, f".{precision}{verb}")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_printed_so_that_it_reads_back(value):
    assert float("".join(printf("%v", [value]))) == value
