"""What is refused, with which words; what is not; and how much of it is kept."""

import json
import re

import pytest
from support.grammars import schema_grammar

from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.grammar import compiler as compiler_module
from gristmill.runtime.grammar.source import compile_grammar
from gristmill.runtime.grammar.vocabulary import trial_tokenizer
from gristmill.runtime.params import Grammar

TOKENIZER = trial_tokenizer()


def nested(key, levels):
    return f'{{"{key}":' * levels + '{"type":"null"}' + "}" * levels


def chain(n):
    """References from one to the next; what they mean is one level deep."""
    links = {f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(n)}
    return {"$ref": "#/$defs/a0", "$defs": {**links, f"a{n}": {"type": "null"}}}


def text(pattern):
    return {"type": "string", "pattern": pattern}


def integers(n):
    return {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(n)}}


GROWING_PATTERN = "((((a{1000}){1000}){1000}){1000})"
SELF = {"$ref": "#"}
MUST_HOLD_ITSELF = {"type": "object", "properties": {"c": SELF}, "required": ["c"], "additionalProperties": False}

REFUSED = {
    # keywords that are not implemented, and those that are wrong
    '{"not": {}}': 'keyword "not" is not supported',
    '{"if": {}, "then": {}}': 'keywords "if", "then" are not supported',
    '{"uniqueItems": true}': 'keyword "uniqueItems" is not supported',
    '{"properties": {"a": {"contains": {}}}}': 'keyword "contains" is not supported',
    '{"x-guidance": {"lenient": true}, "not": {}}': 'keyword "not" is not supported',
    '{"oneOf": [{"minimum": 1}, {"maximum": 5}]}': "oneOf constraints are not supported",
    '{"type": "string", "format": "made-up"}': "unknown format: made-up",
    '{"type": 5}': "type must be a string or array of strings",
    '{"type": "objekt"}': "invalid type: objekt",
    '{"properties": []}': "properties must be an object",
    '{"properties": {"a": 5}}': "schema must be an object or boolean",
    '{"required": {}}': "expected array for 'required'",
    '{"items": 7}': "schema must be an object or boolean",
    '{"anyOf": {}}': "anyOf must be an array",
    '{"minimum": "x"}': "expected f64 for 'minimum'",
    "[]": "a schema must be a JSON object",
    "true": "a schema must be a JSON object",
    '{"a":': "schema is not valid JSON",
    '{"a": NaN}': "schema is not valid JSON",
    '{"type": "object", "minProperties": 2}': 'keyword "minProperties" is not supported beyond',
    # depth, references
    nested("items", 10_000): "schema is nested",
    nested("items", 64): "schema is nested more than 64 levels deep",
    json.dumps(chain(5000)): 'the depths of all that "$ref" refers to',
    json.dumps({"$ref": "http://127.0.0.1:9/x"}): "failed",
    json.dumps({"$ref": "file:///etc/passwd"}): "failed",
    json.dumps({"$ref": "#/$defs/nope"}): "pointer '/$defs/nope' does not exist",
    json.dumps({"allOf": [{"anyOf": [{"required": [f"{i}{j}"]} for j in range(10)]} for i in range(9)]}): "too complex",
    # sizes
    json.dumps({"enum": [f"value{i}" for i in range(60_000)]}): "schema has more than 50000 values",
    json.dumps({"const": "x" * (1 << 20)}): "schema of",
    json.dumps({"const": "x" * (65 << 10)}): "schema has a string of more than 65536 characters",
    json.dumps(integers(100_000)): "schema of",
    json.dumps(integers(401)): '"properties" has more than 400 names that are not in "required"',
    # counts
    **{json.dumps({key: value}): f"expected positive integer for '{key}'"
       for key in ("minItems", "maxItems", "minLength", "maxLength") for value in (-1, 1.5)},
    # no value at all
    '{"enum": []}': "schema has no valid value",
    '{"type": "string", "enum": [1]}': "schema has no valid value: incompatible types",
    '{"type": "integer", "minimum": 5, "maximum": 2}': "schema has no valid value: minimum (5)",
    '{"type": "array", "minItems": 5, "maxItems": 2}': "schema has no valid value",
    '{"type": "string", "minLength": 5, "maxLength": 2}': "schema has no valid value",
    '{"allOf": [{"type": "string"}, {"type": "integer"}]}': "schema has no valid value",
    '{"type": "object", "properties": {"a": false}, "required": ["a"]}': "schema has no valid value: required property",
    '{"type": "string", "pattern": "^a$", "minLength": 3}': "schema has no valid value",
    json.dumps(MUST_HOLD_ITSELF): "schema has no valid value: what is required contains itself",
    json.dumps(SELF): "schema has no valid value: what is required contains itself",
    '{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}': "contains itself",
    # patterns
    json.dumps(text("(")): "invalid pattern: unclosed group",
    json.dumps(text("(?<=x)*")): "invalid pattern: look-around",
    json.dumps(text("(?=a)b")): "invalid pattern: look-around",
    json.dumps(text(r"(a)\1")): "invalid pattern: backreferences are not supported",
    json.dumps(text("a{5,2}")): "invalid pattern: invalid repetition count range",
    json.dumps(text("a{1001}")): "repeats more than 1000 times",
    json.dumps(text("[a-z]{1000000000}")): "repeats more than 1000 times",
    json.dumps(text("a" * 4097)): "pattern of 4097 characters is over the limit of 4096",
    json.dumps(text("(" * 60_000)): "pattern of 60000 characters",
    json.dumps(text("(" * 65 + "a" + ")" * 65)): "groups nested more than 64 deep",
    json.dumps({"patternProperties": {"(": {}}}): "invalid pattern: unclosed group",
    json.dumps({"patternProperties": {"a{1001}": {}}}): "repeats more than 1000 times",
}  # fmt: skip


@pytest.mark.parametrize("schema", REFUSED, ids=lambda schema: schema[:60])
def test_schemas_that_are_refused(schema):
    with pytest.raises(InvalidRequest) as caught:
        compile_grammar(TOKENIZER, schema_grammar(schema))
    error = str(caught.value)
    assert REFUSED[schema] in error
    assert len(error) <= 256
    assert "\n" not in error
    assert re.match(r"[a-z]", error)
    assert "0x" not in error
    assert "/root" not in error


ALLOWED = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {"c": SELF}},
    {"type": "object", "properties": {"c": {"type": "array", "items": SELF}}, "required": ["c"]},
    {"type": "object", "properties": {"c": {"anyOf": [SELF, {"type": "null"}]}}, "required": ["c"]},
    {"anyOf": [MUST_HOLD_ITSELF, {"type": "null"}]},
    chain(500),
    json.loads(nested("items", 63)),
    integers(400),
    integers(2000) | {"required": [f"p{i}" for i in range(1700)]},
    {"type": "array", "minItems": 0, "maxItems": 10**9, "items": {"type": "null"}},
    {"type": "string", "minLength": 10**6, "maxLength": 10**9},
    {"enum": [f"value{i}" for i in range(20_000)]},
    text("(a+)+$"),
    text("^(|.*)$"),
    text("(" * 64 + "a" + ")" * 64),
    text("a{1000}"),
    text("(x+x+)+y"),
    {"type": "string", "format": "date-time"},
    {"title": 5, "description": "d", "default": {"pattern": 7}, "$comment": "c", "unknown": {"not": 1}},
    {"type": "object", "properties": {"pattern": {"type": "string"}, "$ref": {"type": "null"}}},
]


@pytest.mark.parametrize("schema", ALLOWED, ids=lambda schema: json.dumps(schema)[:60])
def test_schemas_that_are_not(schema):
    matcher = compile_grammar(TOKENIZER, schema_grammar(schema))
    assert any(matcher.compute_bitmask())


@pytest.mark.parametrize(
    ("schema", "document", "fits"),
    [
        ({"properties": {"a": {"type": "null"}}, "type": "object"}, '{"a":null,"b":1}', True),
        ({"properties": {"a": {"type": "null"}}, "type": "object"}, '{"a":1}', False),
        ({"properties": {"a": {"type": "null"}}, "type": "object"}, r'{"\u0061":1}', False),
        ({"properties": {"/": {"type": "null"}}, "type": "object"}, r'{"\/":1}', False),
        ({"properties": {"a": {"type": "null"}}, "type": "object"}, '{"a":null,"a":1}', False),
        ({"properties": {'a"\n': {"type": "null"}}, "type": "object"}, r'{"a\"\n":null}', True),
        ({"type": "object", "minProperties": 1}, "{}", False),
        ({"type": "object", "required": ["a", "b"], "minProperties": 2}, '{"a":1,"b":1}', True),
        ({"type": "string", "maxLength": 2}, '"🙂é"', True),
        ({"type": "string", "maxLength": 2}, '"🙂éx"', False),
        ({"type": "string"}, r'"\ud83d"', False),
        ({"type": "string"}, '"\n"', False),
        ({"type": "string"}, r'"\n\"\\"', True),
        ({"type": "integer"}, "1.5", False),
    ],
)
def test_which_documents_fit(schema, document, fits):
    matcher = compile_grammar(TOKENIZER, schema_grammar(schema))
    taken = [matcher.consume_token(1 + byte) for byte in document.encode() if not matcher.is_stopped()]
    assert (len(taken) == len(document.encode()) and all(taken) and matcher.is_accepting()) == fits


@pytest.mark.parametrize(
    ("grammar", "error"),
    [
        (Grammar("regex", "("), "invalid pattern: unclosed group"),
        (Grammar("regex", "a" * 5000), "pattern of 5000 characters"),
        (Grammar("regex", r"[^\s\S]"), "no output is valid"),
        (Grammar("lark", ""), "no start rule found"),
        (Grammar("lark", "start: foo"), "unknown name"),
        (Grammar("lark", "start: start"), "no output is valid"),
        (Grammar("lark", "start: " + "(" * 60_000 + '"a"' + ")" * 60_000), "grammar of 120010 characters"),
        (Grammar("lark", "start: " + "(" * 20_000 + '"a"' + ")" * 20_000), "too deeply nested"),
        (Grammar("lark", 'start: "a"{1000000000}'), "repeats something more than 1000 times"),
        (Grammar("lark", "\n".join(f"r{i}: r{i + 1}" for i in range(5000))), "more than 1000 rules"),
        (Grammar("lark", "%import /etc/passwd\nstart: FOO"), "Expected name"),
        (Grammar("lark", "start: %json " + json.dumps(chain(150))), 'schemas with more than 100 "$ref"'),
        (Grammar("lark", 'start: "a"\n%llguidance {"no_forcing": false}'), "%llguidance is not supported"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_other_grammars_that_are_refused(grammar, error):
    with pytest.raises(InvalidRequest) as caught:
        compile_grammar(TOKENIZER, grammar)
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["(.*){1000}{1000}", GROWING_PATTERN, "(?:a?){1000}a{1000}", "a{1000}" * 500])
def test_patterns_that_explode_cost_little(pattern):
    """Or come to a dead end; either way each step's work is bounded, so that this test ends."""
    matcher = compile_grammar(TOKENIZER, Grammar("regex", pattern))
    n_taken, letter = 0, 1 + ord("a")
    while n_taken < 300 and not matcher.is_stopped() and matcher.compute_bitmask() and matcher.consume_token(letter):
        n_taken += 1
    assert n_taken == 300 or "too many expressions" in matcher.get_error()


def test_the_number_of_grammars_that_are_kept_is_bounded(compiler, monkeypatch):
    monkeypatch.setattr(compiler_module, "MAX_KEPT", 5)
    for i in range(40):
        compiler.matcher(Grammar("regex", f"a{{{i}}}b"))
    assert compiler.n_kept == 5
    monkeypatch.setattr(compiler_module, "MAX_KEPT_BYTES", 200 << 10)
    compiler.matcher(Grammar("regex", "c"))
    assert compiler.n_kept == 3
    compiler.matcher(schema_grammar({"enum": ["x" * 9000]}))
    assert compiler.n_kept == 1


def test_the_one_that_was_used_last_is_kept(compiler, monkeypatch):
    monkeypatch.setattr(compiler_module, "MAX_KEPT", 2)
    first, second, third = (Grammar("regex", char) for char in "abc")
    for grammar in (first, second, first, third):
        compiler.matcher(grammar)
    assert list(compiler._kept) == [first, third]
