"""One Go template: source in, ``render(data)`` out, every failure a ``TemplateError``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import TemplateError
from .evaluator import execute
from .functions import FUNCTIONS
from .nodes import Tree
from .parser import parse
from .values import from_json

MAX_SOURCE = 1 << 20  # characters
MAX_OUTPUT = 16 << 20  # characters


class GoTemplate:
    """A template of Go's text/template, with Ollama's functions. A key that a map lacks is nil.

    Raises TemplateError with Go's message if ``source`` is no template or longer than MAX_SOURCE; ``name`` is the
    template's in messages.
    """

    def __init__(self, source: str, name: str = ""):
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"template of {len(source)} characters is over the limit of {MAX_SOURCE}")
        self.source = source
        self.tree: Tree = _parsed(source, name)

    def render(self, data: Mapping[str, Any]) -> str:
        """The text for ``data``, which passes through JSON, so that its numbers are float64.

        Raises TemplateError if the template fails, or makes more than MAX_OUTPUT characters or more than
        8 times the data plus 1 Mi characters.
        """
        try:
            return self.render_json(msgspec.json.encode(data))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TemplateError(f"template data cannot be encoded: {error}") from None

    def render_json(self, data: bytes | msgspec.Raw) -> str:
        """Like ``render``, for a value that is JSON text already."""
        try:
            value = from_json(msgspec.json.decode(data))
        except (ValueError, OverflowError, RecursionError) as error:
            raise TemplateError(f"template data cannot be decoded: {error}") from None
        return execute(self.tree, value, output_limit(len(memoryview(data))))


def output_limit(data_bytes: int) -> int:
    """How many characters a template may make of so much data."""
    return min(MAX_OUTPUT, 8 * data_bytes + (1 << 20))


def _parsed(source: str, name: str) -> Tree:
    try:
        return parse(source, name, FUNCTIONS)
    except RecursionError:
        raise TemplateError(f"template: {name}: nested too deeply") from None
