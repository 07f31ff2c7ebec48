"""Modelfiles: the grammar, its errors, and text that parses to what it came from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.api.store.modelfile import Modelfile, parse_modelfile
from gristmill.api.store.parameters import check_parameters, parse_parameter
from gristmill.runtime.errors import InvalidRequest

COMMANDS = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)


def test_every_instruction_is_read():
    file = parse_modelfile(
        """
# a comment
FROM llama3
from ./projector.gguf
  Adapter ./a.gguf
DRAFT d.gguf
TEMPLATE \"\"\"{{ .System }}
  "quoted" {{ .Prompt }}\"\"\"
SYSTEM first
SYSTEM You are # not a comment.
RENDERER r
PARSER p
REQUIRES v0.14.0-rc.1
PARAMETER num_ctx 4096
PARAMETER temperature 0.5
PARAMETER temperature 1
PARAMETER use_mmap true
PARAMETER stop <|im_end|>
PARAMETER stop "with space "
MESSAGE user hi there
MESSAGE assistant \"\"\"two
lines\"\"\"
LICENSE "MIT
and more"
LICENSE Apache
"""
    )
    assert file.sources == ["llama3", "./projector.gguf"]
    assert (file.adapter, file.draft) == ("./a.gguf", "d.gguf")
    assert file.template == '{{ .System }}\n  "quoted" {{ .Prompt }}'
    assert file.system == "You are # not a comment."
    assert (file.renderer, file.parser, file.requires) == ("r", "p", "v0.14.0-rc.1")
    assert file.parameters == {
        "num_ctx": 4096,
        "temperature": 1.0,
        "use_mmap": True,
        "stop": ["<|im_end|>", "with space "],
    }
    assert file.messages == [{"role": "user", "content": "hi there"}, {"role": "assistant", "content": "two\nlines"}]
    assert file.licenses == ["MIT\nand more", "Apache"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain  ", "plain"),
        ('"quoted"', "quoted"),
        ('""', ""),
        ('""""""', ""),
        ('" a "', " a "),
        ('"""\nkept\n"""', "\nkept\n"),
        ('"""a "b" c"""', 'a "b" c'),
        ('"""a""""', 'a"'),
        ('"a "b" c"', 'a "b" c'),
        ('"a\nb"', "a\nb"),
        ("'single'", "'single'"),
        ("a\\nb", "a\\nb"),
        ("a\0\x1b[1mb\x7f", "a[1mb"),
        ("tab\tinside", "tab\tinside"),
        ("全角\u3000空白 👩‍🚀", "全角\u3000空白 👩‍🚀"),
        ("win\r", "win"),
        ('"""win\r\nlines\r\n"""\r', "win\nlines\n"),
    ],
)
def test_values(value, expected):
    assert parse_modelfile(f"FROM x\nSYSTEM {value}\n").system == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no FROM line"),
        ("# only a comment", "no FROM line"),
        ("SYSTEM x", "no FROM line"),
        ("FROM x\nBOGUS y", f"(line 2): {COMMANDS}"),
        ("FROM", f"(line 1): {COMMANDS}"),
        ("FROM x\n\nSYSTEM   \n", f"(line 3): {COMMANDS}"),
        ("FROM1 x", f"(line 1): {COMMANDS}"),
        ("FROM x\nSYSTEM:y", f"(line 2): {COMMANDS}"),
        ("FROM x\nMESSAGE bogus y", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE User y", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE user", '(line 2): message "user" has no value'),
        ("FROM x\nPARAMETER num_ctx", '(line 2): parameter "num_ctx" has no value'),
        ("FROM x\nPARAMETER bogus 1", "unknown parameter 'bogus'"),
        ("FROM x\nPARAMETER num_ctx 1.5", "invalid int value [1.5]"),
        ("FROM x\nPARAMETER num_ctx 99999999999999999999", "invalid int value [99999999999999999999]"),
        ("FROM x\nPARAMETER temperature warm", "invalid float value [warm]"),
        ("FROM x\nPARAMETER temperature nan", "invalid float value [nan]"),
        ("FROM x\nPARAMETER use_mmap yes", "invalid bool value [yes]"),
        ('FROM x\nSYSTEM """never', "unexpected EOF"),
        ('FROM x\nSYSTEM "never\nends', "unexpected EOF"),
        ('FROM x\nSYSTEM "', "unexpected EOF"),
        ('FROM x\nSYSTEM """"', "unexpected EOF"),
        ("FROM x\nREQUIRES soon", "requires must be a valid semver (e.g. 0.14.0)"),
    ],
)
def test_errors(text, error):
    with pytest.raises(InvalidRequest) as caught:
        parse_modelfile(text)
    assert str(caught.value) == error


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding):
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    assert parse_modelfile(f"{mark}FROM x\r\nSYSTEM grüße\r\n".encode(encoding)).system == "grüße"


def test_what_is_no_text_is_refused():
    with pytest.raises(InvalidRequest, match="the Modelfile is not a text in UTF-8"):
        parse_modelfile(b"GGUF\x03\xff\xfe")


def test_retired_parameters_are_dropped_with_a_warning():
    file = parse_modelfile("FROM x\nPARAMETER mirostat_tau 5\nPARAMETER top_k 7")
    assert file.parameters == {"top_k": 7}
    assert file.warnings == ["warning: parameter mirostat_tau is deprecated"]


# What a text without escapes can say: no control characters, and no line that ends like the quotes around it.
words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12).filter(lambda t: '"' not in t)
values = st.lists(words, min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from([" ", "\n", '"x"', "\t"]).map(lambda glue: glue.join(parts))
)


@settings(deadline=None)
@given(
    st.builds(
        Modelfile,
        sources=st.lists(words, min_size=1, max_size=3),
        adapter=st.one_of(st.just(""), words),
        template=st.one_of(st.just(""), values),
        system=st.one_of(st.just(""), values.map(lambda t: f" {t} ")),
        parameters=st.fixed_dictionaries(
            {},
            optional={
                "temperature": st.floats(0, 2),
                "seed": st.integers(-1, 2**40),
                "stop": st.lists(values, min_size=1),
            },
        ),
        messages=st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": values})),
        licenses=st.lists(values, max_size=3),
    )
)
def test_formatting_and_parsing_give_the_same_file(file):
    file.template = file.template.strip('"\t ')
    assert parse_modelfile(str(file)) == file


@settings(deadline=None)
@given(st.text(st.sampled_from('FROM SYSTEM\n\t "#xPARAMETER'), max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        error = str(parse_modelfile("FROM x\n" + text).warnings)
    except InvalidRequest as refused:
        error = str(refused)
    assert "\n" not in error


def test_json_values_of_parameters():
    given = {"num_ctx": 4096.9, "temperature": 1, "use_mmap": False, "stop": "one", "seed": None, "mirostat": 1}
    assert check_parameters(given) == {"num_ctx": 4096, "temperature": 1, "use_mmap": False, "stop": ["one"]}
    assert check_parameters({"stop": []}) == {"stop": []}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"num_ctx": "8"}, 'option "num_ctx" must be of type integer'),
        ({"num_ctx": True}, 'option "num_ctx" must be of type integer'),
        ({"num_ctx": 1e300}, 'option "num_ctx" is out of range'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"temperature": float("nan")}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": {"a": 1}}, 'option "stop" must be of type array'),
        ({"stop": ["a", 1]}, 'option "stop" must be of an array of strings'),
        ({"stop": ["a"] * 257}, 'option "stop" has more than 256 strings, or one of more than 8 KiB'),
        ({"stop": ["a" * 8193]}, 'option "stop" has more than 256 strings, or one of more than 8 KiB'),
        ({"bo'gus\n": 1}, "unknown parameter 'bo'gus\\n'"),
    ],
)
def test_wrong_json_values_of_parameters(values, error):
    with pytest.raises(InvalidRequest) as caught:
        check_parameters(values)
    assert str(caught.value) == error


@settings(deadline=None)
@given(st.sampled_from(["num_ctx", "temperature", "use_mmap", "stop", "bogus"]), st.text())
def test_any_text_is_a_value_or_refused(name, text):
    try:
        parse_parameter(name, text)
        error = ""
    except InvalidRequest as refused:
        error = str(refused)
    assert "\n" not in error
