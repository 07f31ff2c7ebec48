"""Feeding parsers of model output in pieces of all sizes, and a few tools to call."""

from __future__ import annotations

from gristmill.runtime.chat.output import Call, OutputParser, Parsed, make_parser
from gristmill.runtime.errors import OutputError


def tool(name: str, *required: str, **properties: object) -> dict:
    schemas = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in properties.items()}
    parameters = {"type": "object", "properties": schemas, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


WEATHER = tool("get_weather", "city", city="string", days="integer")
TOOLS = [WEATHER, tool("get", n="number"), tool("get_time")]


def feed(parser: OutputParser, *pieces: str) -> Parsed:
    """All that ``pieces`` are, joined."""
    found = Parsed()
    for piece in pieces:
        found += parser.feed(piece)
    return found + parser.finish()


def cut_up(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def read(name: str, text: str, *, tools=TOOLS, **setup) -> Parsed:
    """What parser ``name`` makes of ``text``, which must be the same for pieces of 1, 2, 7 and all characters."""
    return read_with(lambda: make_parser(name, tools=tools, **setup), text)


def read_with(make, text: str) -> Parsed:
    found = [outcome(make(), cut_up(text, size)) for size in (1, 2, 7, max(1, len(text)))]
    assert all(other == found[0] for other in found), found
    if isinstance(found[0], OutputError):
        raise found[0]
    return found[0]


def outcome(parser: OutputParser, pieces: list[str]) -> Parsed | OutputError:
    """What ``pieces`` are, joined, or the error they raise; equal for equal texts."""
    try:
        return feed(parser, *pieces)
    except OutputError as error:
        return _Comparable(*error.args)


class _Comparable(OutputError):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutputError) and self.args == other.args

    __hash__ = None


def content(text: str) -> Parsed:
    return Parsed(content=text)


def thought(text: str, then: str = "", *calls: Call) -> Parsed:
    return Parsed(then, text, calls)


def weather(**arguments: object) -> Call:
    return Call("get_weather", arguments)
