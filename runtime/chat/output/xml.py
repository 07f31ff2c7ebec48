"""Qwen3-Coder's calls, which Qwen 3.5, Nemotron and others write, too.

    <tool_call>
    <function=get_weather>
    <parameter=city>
    San Francisco
    </parameter>
    </function>
    </tool_call>

It is no XML: nothing is escaped, and a value ends at the first closing tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from .base import Call
from .declared import Declared
from .forms import Delimited, named
from .values import Broken, convert, without_newlines

# Names are bounded, so that text full of unclosed tags is not read again for each.
_FUNCTION = re.compile(r"<function=([^>]{0,256})>")
_PARAMETER = re.compile(r"<parameter=([^>]{0,256})>|</function>")


def xml_calls(tools: Declared) -> Delimited:
    return Delimited("<tool_call>", "</tool_call>", partial(parse_xml_calls, tools), strict=True)


def parse_xml_calls(tools: Declared, body: str) -> Iterator[Call]:
    """The functions of ``body``, with values of their declared types. Raises Broken. Linear."""
    function = _FUNCTION.search(body)
    if function is None:
        raise Broken("no <function=...>")
    while function is not None:
        name = named(function.group(1))
        arguments, at = _arguments(tools, name, body, function.end())
        yield Call(name, arguments)
        function = _FUNCTION.search(body, at)


def _arguments(tools: Declared, name: str, body: str, at: int) -> tuple[dict[str, Any], int]:
    """The arguments, and where the function ends."""
    arguments: dict[str, Any] = {}
    while tag := _PARAMETER.search(body, at):
        if tag.group(1) is None:
            return arguments, tag.end()
        key = tag.group(1).strip()
        end = body.find("</parameter>", tag.end())
        if end < 0:
            raise Broken("a <parameter=...> is not closed")
        arguments[key] = convert(without_newlines(body[tag.end() : end]), tools.types(name, key))
        at = end + len("</parameter>")
    raise Broken("<function=...> is not closed")
