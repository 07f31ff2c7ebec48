"""Errors with Go's wording and place: ``template: name:1:5: executing "name" at <.X>: reason``."""

from __future__ import annotations

from typing import TypeAlias

from ...errors import TemplateError
from .nodes import Command, Invoke, Operand

MAX_MESSAGE = 400

Place: TypeAlias = Operand | Command | Invoke


def parse_error(name: str, source: str, pos: int, message: str) -> TemplateError:
    """For a source that is no template; ``pos`` is where the parser was."""
    line = 1 + source.count("\n", 0, pos)
    return TemplateError(_short(f"template: {name}:{line}: {message}"))


def run_error(name: str, source: str, node: Place, message: str, running: str) -> TemplateError:
    """For a template that fails while ``node`` is evaluated; ``running`` names it, or the one that it defines."""
    line = 1 + source.count("\n", 0, node.pos)
    column = len(source[source.rfind("\n", 0, node.pos) + 1 : node.pos].encode("utf-8", "replace"))
    where = f'executing "{running}" at <{node}>'
    return TemplateError(_short(f"template: {name}:{line}:{column}: {where}: {message}"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 3] + "..."
