"""The Go template language: what it prints, and how it fails. Own cases here, Go's own outputs from the golden data."""

from __future__ import annotations

import json

import pytest
from support.golden import golden_path

from gristmill.runtime.chat import GoTemplate
from gristmill.runtime.chat.go_template import evaluator
from gristmill.runtime.chat.go_template.pipelines import MAX_NESTING
from gristmill.runtime.chat.go_template.template import MAX_OUTPUT, MAX_SOURCE
from gristmill.runtime.errors import TemplateError
from gristmill.runtime.tokenizer.guard import GUARD

DATA = {
    "S": "héllo",
    "N": 3,
    "F": 2.5,
    "T": True,
    "L": [1, 2, 3],
    "W": ["a", "b"],
    "M": {"b": 2, "a": 1},
    "Deep": {"In": {"Out": "x"}},
    "Null": None,
    "Nest": [[1, "x"], None, {"a": None}],
}

# Source to output.
PRINTED = {
    # text, trimming, comments
    "": "",
    "a {{/* c */}} b": "a  b",
    "a {{- /* c */ -}} b": "ab",
    "a \n\t{{- 1 -}}\r\n b": "a1b",
    "{{\n1\n}}": "1",
    "{ { }}": "{ { }}",
    "{{-1}}{{- 2}}": "-12",
    # literals
    "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ +7 }}": "31 5 15 15 1000 7",
    "{{ 'a' }} {{ '\\n' }} {{ '\\'' }} {{ '\\u00e9' }}": "97 10 39 233",
    "{{ 1.0 }} {{ .5 }} {{ 1e3 }} {{ 0x1p4 }}": "1 0.5 1000 16",
    r'{{ "\x41\102\u0043\U00000044\\" }}': "ABCD\\",
    r'{{ "\xc3\xa9" }}{{ "\xff" }}': "é\ufffd",
    "{{ `a\\n\r` }}": "a\\n",
    # fields and variables
    "{{ .Deep.In.Out }}{{ $.Deep.In.Out }}{{ (.Deep).In.Out }}": "xxx",
    "{{ with .Deep }}{{ .In.Out }}{{ $.S }}{{ end }}": "xhéllo",
    "{{ $x := .Deep }}{{ $x.In.Out }}{{ with $x = .M }}{{ end }}{{ $x.a }}": "x1",
    "{{ $x := 1 }}{{ with 2 }}{{ $x := . }}{{ $x }}{{ end }}{{ $x }}": "21",
    "{{ .Null }}|{{ .None }}|{{ $x := .None }}{{ $x.Foo }}": "<no value>|<no value>|<no value>",
    # branches
    "{{ if .None }}a{{ else if .N }}b{{ else }}c{{ end }}": "b",
    "{{ with .None }}a{{ else with .N }}{{ . }}{{ else }}c{{ end }}": "3",
    "{{ if 0 }}a{{ end }}{{ if 0.0 }}b{{ end }}{{ if `` }}c{{ end }}{{ if .M }}d{{ end }}": "d",
    # ranges
    "{{ range $k, $v := .M }}{{ $k }}{{ $v }}{{ end }}{{ range .M }}{{ . }}{{ end }}": "a1b212",
    "{{ range .None }}a{{ else }}b{{ end }}{{ range 0 }}a{{ else }}c{{ end }}": "bc",
    "{{ range $i, $v := .L }}{{ if $i }}{{ if eq $i 2 }}{{ break }}{{ end }}{{ continue }}{{ end }}{{ $v }}{{ end }}.":
        "1.",
    "{{ $last := 0 }}{{ range $last = .L }}{{ end }}{{ $last }}": "3",
    "{{ range $i := 2 }}{{ range $j := 2 }}{{ $i }}{{ $j }},{{ end }}{{ end }}": "00,01,10,11,",
    "{{ range .L }}{{ $x := . }}{{ end }}{{ $x := 5 }}{{ $x }}": "5",
    # templates
    '{{ define "t" }}[{{ . }}{{ $ }}]{{ end }}{{ template "t" .N }}{{ template "t" }}': "[33][<no value><no value>]",
    '{{ block "b" .S }}{{ len . }}{{ end }}{{ template "b" "abc" }}': "63",
    '{{ define "e" }} {{ end }}{{ define "e" }}full{{ end }}{{ template "e" }}': "full",
    # calls, pipelines, logic
    "{{ .N | printf `%v-%v` 1 }}": "1-3",
    "{{ and 1 0 2 }} {{ or 0 `` 2 }} {{ and 1 2 }} {{ or 0 false }}": "0 2 2 false",
    "{{ or .T (index .L 99) }} {{ and .None (index .L 99) }}": "true <no value>",
    "{{ 0 | or `` }} {{ 5 | and 1 }}": "0 5",
    "{{ eq .N 1.0 3.0 }} {{ eq `a` `b` `a` }} {{ ne .T false }} {{ eq .None nil }} {{ eq .S nil }}":
        "true true true true false",
    "{{ lt `a` `b` }} {{ le 2 2 }} {{ gt 2.5 .F }} {{ ge .F 2.5 }}": "true true false true",
    "{{ len .S }} {{ len .L }} {{ len .M }} {{ len `` }}": "6 3 2 0",
    "{{ index .L 0 }} {{ index .M `b` }} {{ index .M `z` }} {{ index .S 0 }} {{ index .L }}":
        "1 2 <no value> 104 [1 2 3]",
    "{{ slice .S 1 3 }}{{ slice .S 3 }}{{ slice .S }} {{ slice .L 1 2 }} {{ slice .L 0 1 2 }}": "éllohéllo [2] [1]",
    "{{ slice .S 0 2 }}{{ slice .S 2 3 }}": "hé",
    "{{ not nil }} {{ not .L }}": "true false",
    # printing
    "{{ .L }} {{ .M }} {{ .W }} {{ .Deep }}": "[1 2 3] map[a:1 b:2] [a b] map[In:map[Out:x]]",
    "{{ print 1 2 `a` 3 4 .Null }}": "1 2a3 4 <nil>",
    "{{ println `a` 1 }}{{ println }}": "a 1\n\n",
    "{{ 1000000.0 }} {{ 100000.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 123456.789 }}":
        "1e+06 100000 0.0001 1e-05 123456.789",
    "{{ html `<'&\"` }} {{ js `a'\"<=\n` }} {{ urlquery `a b/é` }}":
        "&lt;&#39;&amp;&#34; a\\'\\\"\\u003C\\u003D\\u000A a+b%2F%C3%A9",
    "{{ html .Null 1 2 }}": "&lt;no value&gt;1 2",
    "{{ json . | len | lt 50 }} {{ json .W }} {{ json `a\n\"<\u2028` }}": 'true ["a","b"] "a\\n\\"\\u003c\\u2028"',
    "{{ json 1e21 }} {{ json 1e20 }} {{ json 1e-7 }} {{ json 0.000001 }} {{ json .T }}":
        "1e+21 100000000000000000000 1e-7 0.000001 true",
    '{{ toTypeScriptType .T }} {{ toTypeScriptType (index .L 0) }}': "any any",
}  # fmt: skip

# Format and arguments to text: Go's fmt.
PRINTF = {
    "`%d|%5d|%-5d|%05d|%+d|% d` 42 42 42 42 42 42": "42|   42|42   |00042|+42| 42",
    "`%x|%X|%#x|%o|%#o|%O|%b|%c|%q|%U` 255 255 255 8 8 8 5 65 65 65": "ff|FF|0xff|10|010|0o10|101|A|'A'|U+0041",
    "`%.3d|%6.3d|%-6.3d|%06d` 7 7 7 -7": "007|   007|007   |-00007",
    "`%f|%.2f|%8.2f|%-8.2f|%08.2f|%+.1f` 2.5 2.5 2.5 2.5 -2.5 2.5": "2.500000|2.50|    2.50|2.50    |-0002.50|+2.5",
    "`%e|%.1E|%g|%G|%.3g|%v` 1234.5 1234.5 1e21 1e-7 1234.5 0.1": "1.234500e+03|1.2E+03|1e+21|1E-07|1.23e+03|0.1",
    "`%s|%5s|%-5s|%.2s|%x|% x|%X|%#x` `ab` `ab` `ab` `abc` `ab` `ab` `ab` `ab`":
        "ab|   ab|ab   |ab|6162|61 62|6162|0x6162",
    "`%q|%+q|%#q|%q` `a\"é` `é` `ab` `\n`": '"a\\"é"|"\\u00e9"|`ab`|"\\n"',
    "`%t|%v|%5t` true false true": "true|false| true",
    "`%T|%T|%T|%T|%T|%T|%T` 1 1.5 `a` true nil .L .M":
        "int|float64|string|bool|<nil>|[]interface {}|map[string]interface {}",
    "`%v|%s|%d|%+v|%#v` .L .W .L .M .W":
        '[1 2 3]|[a b]|[%!d(float64=1) %!d(float64=2) %!d(float64=3)]|map[a:1 b:2]|[]interface {}{"a", "b"}',
    "`%#v|%#v` .M .Null": 'map[string]interface {}{"a":1, "b":2}|<nil>',
    "`%v|%s|%d` nil nil nil": "<nil>|%!s(<nil>)|%!d(<nil>)",
    "`%d|%s|%t|%z` `a` 1 2 3": "%!d(string=a)|%!s(int=1)|%!t(int=2)|%!z(int=3)",
    "`%d %d` 1": "1 %!d(MISSING)",
    "`%5t|%-8d|%+.1s|%#d` 1 `a` 2.5 2.5": "%!t(int=    1)|%!d(string=a       )|%!s(float64=+2)|%!d(float64=2.50000)",
    "`%d %x %X` .W 2.5 0.1": "[%!d(string=a) %!d(string=b)] 0x1.4p+01 0X1.999999999999AP-04",
    "`%#o|%#.4o|%#x|%#08x|%#b|%.0d|%3.0d|%O` 8 8 255 255 5 0 0 8": "010|0010|0xff|0x000000ff|0b101||   |0o10",
    "`%#U|%#U|%U|%.6U|%+q` 8364 1 -1 65 8364": "U+20AC '€'|U+0001|U+FFFFFFFFFFFFFFFF|U+000041|'\\u20ac'",
    "`%[2].2f|%[1]*d|%[9]*d` 1 2": "%!f(BADINDEX)|2|%!(BADWIDTH)%!d(BADINDEX)",
    "`%s|%v` .Nest .Nest": "[[%!s(float64=1) x] <nil> map[a:<nil>]]|[[1 x] <nil> map[a:<nil>]]",
    "`%d` 1 `a` 2.5": "1%!(EXTRA string=a, float64=2.5)",
    "`%[2]d %[1]d %d` 1 2": "2 1 2",
    "`%[3]d %[x]d %[1]5d` 1": "%!d(BADINDEX) %!d(BADINDEX) %!d(BADINDEX)",
    "`%*d|%-*d|%.*f|%*d` 4 1 4 1 1 2.55 `a` 1": "   1|1   |2.5|%!(BADWIDTH)1",
    "`%*d|` -4 1": "1   |",
    "`100%%|%`": "100%|%!(NOVERB)",
    "`%6.2v|%v` 2.0 1e6": "     2|1e+06",
}  # fmt: skip

# Source to the end of Go's message.
REFUSED = {
    "{{": "template: t:1: unclosed action",
    "{{\n\n": "template: t:3: unclosed action started at t:1",
    "{{ 1\n)": "template: t:2: unexpected right paren in action started at t:1",
    "a\n{{ if }}": "template: t:2: missing value for if",
    "{{ if 1 }}": "template: t:1: unexpected EOF",
    "{{ if 1 }}{{ else }}{{ else }}{{ end }}": "template: t:1: expected end; found {{else}}",
    "{{ with 1 }}{{ else if 1 }}{{ end }}": "template: t:1: unexpected <if> in input",
    "{{ nope }}": 'template: t:1: function "nope" not defined',
    "{{ $x }}": 'template: t:1: undefined variable "$x"',
    "{{ if 1 }}{{ $x := 1 }}{{ end }}{{ $x }}": 'template: t:1: undefined variable "$x"',
    '{{ $x := 1 }}{{ define "t" }}{{ $x }}{{ end }}': 'template: t:1: undefined variable "$x"',
    "{{ /* a": 'template: t:1: unexpected "/" in command',
    "{{/* a": "template: t:1: unclosed comment",
    "{{/* a */ }}": "template: t:1: comment ends before closing delimiter",
    "{{ 1 ) }}": "template: t:1: unexpected right paren",
    "{{ () }}": "template: t:1: missing value for parenthesized pipeline",
    "{{ | 1 }}": 'template: t:1: unexpected "|" in command',
    "{{ 1 | 2 }}": "template: t:1: non executable command in pipeline stage 2",
    "{{ 1.x }}": 'template: t:1: bad number syntax: "1.x"',
    "{{ `a`.x }}": "template: t:1: unexpected . after term \"`a`\"",
    "{{ .a-b }}": "template: t:1: bad character U+002D '-'",
    "{{ é }}": 'template: t:1: function "é" not defined',
    "{{ \x01 }}": "template: t:1: unrecognized character in action: U+0001",
    '{{ "\\q" }}': "template: t:1: invalid syntax",
    "{{ 'ab' }}": "template: t:1: malformed character constant: 'ab'",
    "{{ 99999999999999999999 }}": 'template: t:1: integer overflow: "99999999999999999999"',
    "{{ $a, $b := 1 }}": "template: t:1: too many declarations in command",
    "{{ range $a, $b, $c := .L }}{{ end }}": "template: t:1: too many declarations in range",
    "{{ continue }}": "template: t:1: {{continue}} outside {{range}}",
    '{{ range .L }}{{ define "x" }}{{ end }}{{ end }}': "template: t:1: unexpected <define> in command",
    '{{ define "x" }}{{ else }}{{ end }}': "template: t:1: unexpected {{else}} in define clause",
    "{{ template x }}": 'template: t:1: unexpected "x" in template clause',
    "{{ .S.x }}": "template: t:1:5: executing \"t\" at <.S.x>: can't evaluate field x in type interface {}",
    "{{ .None.x }}": 'template: t:1:8: executing "t" at <.None.x>: nil pointer evaluating interface {}.x',
    "é\né{{ .S.x }}": "template: t:2:7: executing \"t\" at <.S.x>: can't evaluate field x in type interface {}",
    "{{ .S 1 }}": "at <.S>: S is not a method but has arguments",
    "{{ 1 2 }}": "at <1>: can't give argument to non-function 1",
    "{{ nil }}": "at <nil>: nil is not a command",
    "{{ index }}": "wrong number of args for index: want at least 1 got 0",
    "{{ not }}": "wrong number of args for not: want 1 got 0",
    "{{ 1 | lt 1 2 }}": "wrong number of args for lt: want 2 got 3",
    "{{ index .L 3 }}": "error calling index: index out of range: 3",
    "{{ index .L -1 }}": "error calling index: index out of range: -1",
    "{{ index .L `a` }}": "error calling index: cannot index slice/array with type string",
    "{{ index .M 1 }}": "error calling index: value has type int; should be string",
    "{{ index 1 1 }}": "error calling index: can't index item of type int",
    "{{ index nil 1 }}": "error calling index: index of untyped nil",
    "{{ slice .L 2 1 }}": "error calling slice: invalid slice index: 2 > 1",
    "{{ slice `abc` 0 1 2 }}": "error calling slice: cannot 3-index slice a string",
    "{{ len nil }}": "error calling len: len of nil pointer",
    "{{ lt .L .L }}": "error calling lt: invalid type for comparison",
    "{{ lt 1 nil }}": "error calling lt: invalid type for comparison",
    "{{ lt true false }}": "error calling lt: invalid type for comparison",
    "{{ eq .L .L }}": "error calling eq: non-comparable type []interface {}",
    "{{ eq 1 }}": "error calling eq: missing argument for comparison",
    "{{ eq .N 3 }}": "error calling eq: incompatible types for comparison: float64 and int",
    "{{ printf 1 }}": "error calling printf: wrong type for value; expected string; got int",
    "{{ call nil }}": "error calling call: call of nil",
    "{{ range .N }}{{ end }}": "at <.N>: range can't iterate over 3",
    "{{ range $i, $j := 3 }}{{ end }}": "can't use 3 to iterate over more than one variable",
    "{{ $x = 1 }}": "undefined variable: $x",
    '{{ define "d" }}{{ .x.y }}{{ end }}{{ template "d" . }}':
        'executing "d" at <.x.y>: nil pointer evaluating interface {}.y',
}  # fmt: skip

HOSTILE = [
    '{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}',
    '{{ define "a" }}{{ template "b" }}{{ end }}{{ define "b" }}{{ template "a" }}{{ end }}{{ template "a" }}',
    '{{ define "a" }}{{ if true }}{{ with 1 }}{{ range 1 }}{{ template "a" . }}{{ end }}{{ end }}{{ end }}{{ end }}'
    '{{ template "a" }}',
    "{{ range 1000000000 }}{{ end }}",
    "{{ range 99999 }}{{ range 99999 }}{{ end }}{{ end }}",
    "{{ range 9999999 }}{{ `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` }}{{ end }}",
    "{{ $x := `xxxxxxxx` }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}",
    r"{{ $x := `\` }}{{ range 99 }}{{ $x = js $x }}{{ end }}",
    "{{ $x := json . }}{{ range 99999999 }}{{ $y := print $x $x $x $x }}{{ end }}",
    "{{ printf `%1000000000d` 1 }}",
    "{{ printf `%.1000000000f` 1.0 }}",
    "{{ printf `%*d` 1000000000 1 }}",
    "{{ printf `%" + "9" * 10_000 + "d` 1 }}",
    "{{ printf `" + "%9999[1]d" * 1000 + "` 1 }}",
    "{{ if true }}" * 10_000 + "{{ end }}" * 10_000,
    "{{ if 0 }}" + "{{ else if 0 }}" * 10_000 + "{{ end }}",
    "{{ " + "(" * 10_000 + "1" + ")" * 10_000 + " }}",
    "{{ print " * 10_000,
    "{{" * 100_000,
    "{{ define `" + "a" * 100_000 + "` }}",
    "{{ 0x" + "f" * 100_000 + " }}",
    "{{ 1" + "0" * 100_000 + " }}",
    "{{ 1e" + "9" * 1000 + " }}",
    "{{ index .L 99999999999 }}",
]


@pytest.mark.parametrize("source", PRINTED)
def test_prints_as_go(source):
    assert GoTemplate(source).render(DATA) == PRINTED[source]


@pytest.mark.parametrize("call", PRINTF)
def test_formats_as_go(call):
    assert GoTemplate(f"{{{{ printf {call} }}}}").render(DATA) == PRINTF[call]


@pytest.mark.parametrize("source", REFUSED)
def test_fails_with_gos_message(source):
    with pytest.raises(TemplateError) as caught:
        GoTemplate(source, "t").render(DATA)
    assert str(caught.value).endswith(REFUSED[source])
    assert str(caught.value).startswith("template: t:")


@pytest.mark.parametrize("call", ["`%p` .L", "`%b` 1.5", "`%.2x` 1.5", "`%#x` 1.5"])
def test_conversions_that_we_lack_are_refused(call):
    with pytest.raises(TemplateError, match="not supported"):
        GoTemplate(f"{{{{ printf {call} }}}}").render(DATA)


def test_gos_own_outputs():
    golden = json.loads(golden_path("go_templates.json").read_text())
    for case in golden["cases"]:
        try:
            result = (GoTemplate(case["template"]).render(golden["data"]), None)
        except TemplateError as error:
            result = (None, str(error))
        assert result == (case["output"], case["error"]), case["template"]


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:40])
def test_hostile_templates_are_refused(source, monkeypatch):
    monkeypatch.setattr(evaluator, "MAX_STEPS", 100_000)
    with pytest.raises(TemplateError) as caught:
        GoTemplate(source).render(DATA)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_nesting_up_to_the_limit_works():
    deep = MAX_NESTING - 1
    assert GoTemplate("{{ if true }}" * deep + "x" + "{{ end }}" * deep).render({}) == "x"
    assert GoTemplate("{{ " + "(" * deep + "1" + ")" * deep + " }}").render({}) == "1"


def test_templates_call_each_other_up_to_the_limit():
    source = '{{ define "t" }}{{ if . }}{{ template "t" (slice . 1) }}{{ end }}x{{ end }}{{ template "t" .W }}'
    assert GoTemplate(source).render({"W": [0] * 60}) == "x" * 61
    with pytest.raises(TemplateError, match="deep"):
        GoTemplate(source).render({"W": [0] * 200})


def test_a_source_is_limited():
    assert GoTemplate("x" * MAX_SOURCE).render({}) == "x" * MAX_SOURCE
    with pytest.raises(TemplateError, match=f"over the limit of {MAX_SOURCE}"):
        GoTemplate("x" * (MAX_SOURCE + 1))


def test_output_is_limited_by_the_size_of_the_data():
    source = "{{ range .L }}" + "x" * 100_000 + "{{ end }}"
    assert len(GoTemplate(source).render({"L": [1] * 10})) == 1_000_000
    with pytest.raises(TemplateError, match="template output is over the limit of"):
        GoTemplate(source).render({"L": [1] * 11})
    assert len(GoTemplate(source).render({"L": [1] * 11, "S": "x" * 10_000})) == 1_100_000


def test_output_is_limited_whatever_the_data():
    with pytest.raises(TemplateError, match=f"over the limit of {MAX_OUTPUT}"):
        GoTemplate("{{ .S }}" * 7).render({"S": "x" * (5 << 19)})


def test_data_must_be_json():
    with pytest.raises(TemplateError, match="cannot be encoded"):
        GoTemplate("").render({"x": object()})
    with pytest.raises(TemplateError, match="cannot be decoded"):
        GoTemplate("").render_json(b"{")


def test_large_whole_numbers_stay_exact():
    assert GoTemplate("{{ json .n }} {{ .n }}").render({"n": (1 << 60) + 1}) == f"{(1 << 60) + 1} {(1 << 60) + 1}"


def test_keys_are_found_as_they_are_written():
    assert GoTemplate("{{ .role }}{{ .Role }}").render({"Role": "x"}) == "<no value>x"


def test_dates_are_dates():
    text = GoTemplate("{{ currentDate }} {{ yesterdayDate `2006` }} {{ currentDate | len }}").render({})
    today, yesterday, length = text.split()
    assert yesterday < today
    assert length == "10"
    assert GoTemplate("{{ currentDate `" + "%Y" * 5000 + "` }}").render({}) == today


@pytest.mark.parametrize(
    ("prop", "expected"),
    [
        ({"type": "integer"}, "number"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array"}, "any[]"),
        ({"type": "object"}, "Record<string, any>"),
        ({"anyOf": [{"type": "boolean"}, {"type": "x"}]}, "boolean | any"),
        ({}, "any"),
        ({"type": 1}, "any"),
    ],
)
def test_typescript_types(prop, expected):
    assert GoTemplate("{{ toTypeScriptType . }}").render(prop) == expected


@pytest.mark.parametrize("function", ["html", "js", "urlquery", "json", "printf `%q`", "print"])
def test_the_guards_marks_pass_through_functions(function):
    text = GoTemplate(f"{{{{ {function} .S }}}}").render({"S": f"[{GUARD}INST]"})
    assert GUARD in text
    assert text.replace(GUARD, "") == GoTemplate(f"{{{{ {function} .S }}}}").render({"S": "[INST]"})


def test_marks_have_no_length():
    assert GoTemplate("{{ len .S }}").render({"S": f"[{GUARD}INST]"}) == "6"
