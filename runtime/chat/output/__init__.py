"""Reading what a model says: its text, as it comes, becomes content, thinking and tool calls. See docs/output.md."""

from .base import Call, CallFormat, Chain, OutputParser, Parsed, Passthrough
from .detect import parser_for_go, parser_for_jinja
from .registry import BUILT_IN, RENDERERS, Beginning, make_parser

__all__ = [
    "BUILT_IN",
    "RENDERERS",
    "Beginning",
    "Call",
    "CallFormat",
    "Chain",
    "OutputParser",
    "Parsed",
    "Passthrough",
    "make_parser",
    "parser_for_go",
    "parser_for_jinja",
]
