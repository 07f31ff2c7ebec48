"""GLM's calls, and Laguna's, which may be JSON, too.

<tool_call>get_weather
<arg_key>city</arg_key>
<arg_value>Paris</arg_value>
</tool_call>
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .base import Call
from .declared import Declared
from .forms import Delimited, named
from .json_calls import object_call
from .values import Broken, convert, decode_object, without_newlines

_INNER = ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")


def glm_calls(tools: Declared) -> Delimited:
    """Broken calls are errors. At the end of an answer only the last closing tag may be missing: anything more
    could turn half an argument into a call that changes something."""
    return _form(partial(parse_glm_call, tools), partial(parse_unclosed_glm_call, tools))


def laguna_calls(tools: Declared) -> Delimited:
    """As GLM's, or {"name": .., "arguments": {..}}, or a name and an object of arguments."""
    return _form(partial(parse_laguna_call, tools), partial(parse_unclosed_glm_call, tools))


def parse_glm_call(tools: Declared, body: str) -> Iterator[Call]:
    """The one call of ``body``, with values of their declared types. Raises Broken. Linear."""
    head, *pairs = body.split("<arg_key>")
    name = named(head)
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, key_closed, rest = pair.partition("</arg_key>")
        between, opened, rest = rest.partition("<arg_value>")
        text, closed, after = rest.partition("</arg_value>")
        if not (key_closed and opened and closed) or between.strip() or after.strip():
            raise Broken("keys and values are not paired")
        if not (key := key.strip()):
            raise Broken("an argument has no name")
        arguments[key] = convert(without_newlines(text), tools.types(name, key))
    yield Call(name, arguments)


def parse_unclosed_glm_call(tools: Declared, body: str) -> Iterator[Call]:
    """The call of ``body``, if its tool is declared and has all that it requires. Raises Broken."""
    for n in range(len("</tool_call>") - 1, 0, -1):
        if body.endswith("</tool_call>"[:n]):
            body = body[:-n]
            break
    for call in parse_glm_call(tools, body):
        if call.name not in tools:
            raise Broken("it is not closed")
        if missing := set(tools.required(call.name)) - call.arguments.keys():
            raise Broken(f"it is not closed, and argument {min(missing)!r} is missing")
        yield call


def parse_laguna_call(tools: Declared, body: str) -> Iterator[Call]:
    """The call of ``body`` in any of Laguna's spellings. Raises Broken."""
    head, brace, _ = body.partition("{")
    if not brace or "<arg_key>" in head:
        yield from parse_glm_call(tools, body)
    elif not head.strip():
        yield object_call(decode_object(body))
    else:
        yield Call(named(head), decode_object(body[len(head) :]))


def _form(parse: partial[Iterator[Call]], parse_unclosed: partial[Iterator[Call]]) -> Delimited:
    return Delimited("<tool_call>", "</tool_call>", parse, strict=True, parse_unclosed=parse_unclosed, inner=_INNER)
