"""What a model says, taken apart while it comes: content, thinking, tool calls. See docs/output.md.

Pure text in, pure values out: knows no tokens, no requests and no event loop.
"""

from .base import Call, CallFormat, OutputParser, Parsed
from .detect import parser_for_go, parser_for_template
from .harmony import harmony_names, own_name
from .registry import BUILT_IN, RENDERERS, ParserSpec, Prefill, make_parser

__all__ = [
    "BUILT_IN",
    "RENDERERS",
    "Call",
    "CallFormat",
    "OutputParser",
    "Parsed",
    "ParserSpec",
    "Prefill",
    "harmony_names",
    "make_parser",
    "own_name",
    "parser_for_go",
    "parser_for_template",
]
