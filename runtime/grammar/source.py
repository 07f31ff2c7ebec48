"""A ``Grammar`` in the form that llguidance compiles, and its errors in words for users."""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, regex_to_lark

from ..errors import InvalidRequest
from ..params import Grammar
from .finite import has_finite_value
from .limits import MAX_SCHEMA_BYTES, check_lark, check_pattern, check_schema

# White space is bounded, or a model that likes it never gets to the next value. Escapes that a character does not
# need are out: "\\u0061" would be a property "a" that is not held to the schema of "a".
_OPTIONS = {
    "whitespace_pattern": r"[ ]|\n{1,2}[ \t]{0,20}",
    "json_allowed_escapes": '"\\bfnrt',
    "lenient": False,
    "coerce_one_of": False,
}
# Else each mask would first look for all text that must follow: seconds, where a pattern repeats its repeats.
_NO_FORCING = '\n%llguidance {"no_forcing": true}'
_MAX_STATES = 50_000  # of an automaton, 1 to 2 KB each
_MAX_REASON = 200
_N_WALKS, _WALK_TOKENS = 4, 48
_IN_SCHEMA = "at 1(8): failed to compile JSON schema: "


def compile_grammar(tokenizer: LLTokenizer, grammar: Grammar) -> LLMatcher:
    """``grammar`` at its beginning; copies of it share what was compiled. Takes milliseconds for what people write.

    Raises InvalidRequest, which names the keyword or place, for what is malformed, not supported, over a limit, or
    allows no output at all.
    """
    limits = LLParserLimits(max_lexer_states=_MAX_STATES, verbose_errors=False)
    source = LLMatcher.grammar_from_lark(_lark(grammar) + _NO_FORCING)
    matcher = LLMatcher(tokenizer, source, log_level=0, limits=limits)
    if matcher.is_error():
        raise InvalidRequest(reason(matcher.get_error()))
    trial = matcher.deep_copy()
    trial.compute_bitmask()
    if trial.is_error():
        raise InvalidRequest(reason(trial.get_error()))
    return matcher


def try_grammar(matcher: LLMatcher) -> None:
    """Draws some output that fits, for some of what a grammar costs shows only then. Always draws the same.

    ``matcher`` is of ``vocabulary.trial_tokenizer``. Raises InvalidRequest where the grammar comes to a dead end.
    """
    rng = random.Random(0)
    for _ in range(_N_WALKS):
        walker = matcher.deep_copy()
        for _ in range(_WALK_TOKENS):
            bits = int.from_bytes(walker.compute_bitmask(), "little") & ~1  # without the end
            if walker.is_error():
                raise InvalidRequest(reason(walker.get_error()))
            if not bits:
                break
            if not walker.consume_token(_some_bit(bits, rng)):
                raise InvalidRequest(reason(walker.get_error()))


def _some_bit(bits: int, rng: random.Random) -> int:
    """The place of a set bit: the first at or after a random one, else the first of all."""
    start = rng.randrange(bits.bit_length())
    rest = bits >> start
    return start + (rest & -rest).bit_length() - 1


def reason(error: str) -> str:
    """One line for what llguidance says, without its stack traces and drawings."""
    lines = [line.strip() for line in error.splitlines()]
    text = lines[0] if lines else ""
    text = text.removeprefix(_IN_SCHEMA)
    keys = re.fullmatch(r"Unimplemented keys: \[(.*)\]", text)
    if keys:
        several = "," in keys[1]
        return f"keyword{'s' if several else ''} {keys[1]} {'are' if several else 'is'} not supported"
    if "NoExtension" in text:
        return "no output is valid"
    if text.startswith("Unsatisfiable schema"):
        return _cut("schema has no valid value" + text.removeprefix("Unsatisfiable schema"))
    if text.startswith("panic") or re.search("too (big|large|many|complex)|fuel|precomputation|Current row", text):
        return _cut(f"too complex: {text.removeprefix('panic: ')}")
    if "regex parse error" in text:
        what = next((line for line in lines if line.startswith("error:")), "error: syntax")
        return _cut("invalid pattern:" + what.removeprefix("error:"))
    return _cut(text[:1].lower() + text[1:])


def _lark(grammar: Grammar) -> str:
    """``grammar`` as one in Lark, whose dialect has schemas and regular expressions in it."""
    if grammar.kind == "lark":
        check_lark(grammar.text)
        return grammar.text
    if grammar.kind == "regex":
        check_pattern(grammar.text)
        return f"start: /{regex_to_lark(grammar.text)}/" if grammar.text else 'start: ""'
    schema = {"type": "object"} if grammar.kind == "json" else _schema(grammar.text)
    return "start: %json " + msgspec.json.encode(schema | {"x-guidance": _OPTIONS}).decode()


def _schema(text: str) -> dict[str, Any]:
    if len(text) > MAX_SCHEMA_BYTES:
        raise InvalidRequest(f"schema of {len(text)} characters is over the limit of {MAX_SCHEMA_BYTES}")
    try:
        schema = msgspec.json.decode(text)
    except RecursionError:
        raise InvalidRequest("schema is nested too deep") from None
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidRequest("schema is not valid JSON") from None
    if not isinstance(schema, dict):
        raise InvalidRequest("a schema must be a JSON object")
    check_schema(schema)
    if not has_finite_value(schema):
        raise InvalidRequest("schema has no valid value: what is required contains itself")
    return schema


def _cut(text: str) -> str:
    text = ascii(text)[1:-1].replace("\\'", "'").replace("\\\\", "\\")
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 3] + "..."
