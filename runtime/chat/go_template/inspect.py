"""What a Go template uses, read from its tree: nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from .nodes import Action, Body, Branch, Chain, Command, Field, Invoke, Pipe, Text, Tree, Variable, operands, statements

_DEFAULT_TOOL_TAG = "{"


class GoFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a Go template uses. ``names`` are those of all its fields, in lower case."""

    names: frozenset[str] = frozenset()
    thinking_tags: tuple[str, str] | None = None
    tool_tag: str = "{"
    tool_round_trip: bool = False

    def uses(self, name: str) -> bool:
        """Whether the template reads the field ``name`` (``.Tools``), in upper or lower case."""
        return name.removeprefix(".").lower() in self.names

    @property
    def abilities(self) -> frozenset[str]:
        """Of ``tools``, ``insert`` and ``thinking`` those that it has."""
        found = {"tools": self.uses(".Tools"), "insert": self.uses(".Suffix"), "thinking": bool(self.thinking_tags)}
        return frozenset(name for name, has in found.items() if has)


def facts(tree: Tree) -> GoFacts:
    """All that can be read from ``tree``."""
    return GoFacts(
        names=names_used(tree),
        thinking_tags=thinking_tags(tree),
        tool_tag=tool_tag(tree),
        tool_round_trip=has_tool_round_trip(tree),
    )


def names_used(tree: Tree) -> frozenset[str]:
    """The names of all fields that are read anywhere, in lower case, without dots."""
    return frozenset(name.lower() for body in (tree.root, *tree.defined.values()) for name in _body_names(body))


def uses(tree: Tree, name: str) -> bool:
    """Whether the field ``name`` (``.Tools``) is read anywhere, in upper or lower case."""
    return name.removeprefix(".").lower() in names_used(tree)


def with_response(tree: Tree) -> Tree:
    """``tree`` for chats: one that has no place for messages or an answer gets ``{{ .Response }}`` at its end."""
    if uses(tree, ".Messages") or uses(tree, ".Response"):
        return tree
    end = len(tree.source)
    field = Field(end, ("Response",))
    return replace(tree, root=(*tree.root, Action(end, Pipe(end, (Command(end, (field,)),)))))


def cut_before_response(tree: Tree) -> Tree:
    """``tree`` without the first statement that prints ``.Response``, and without all after it."""
    return replace(tree, root=_cut(tree.root)[0])


def thinking_tags(tree: Tree) -> tuple[str, str] | None:
    """The texts before and after the thinking of a message, where the template prints that.

    Inside a range over ``.Messages``, the statements around ``{{ .Thinking }}`` begin and end with them.
    """
    for body in _thinking_bodies(tree.root, in_messages=False):
        first, last = body[0], body[-1]
        if isinstance(first, Text) and isinstance(last, Text) and first.text.strip() and last.text.strip():
            return first.text.strip(), last.text.strip()
    return None


def tool_tag(tree: Tree) -> str:
    """What a tool call begins with, ``{`` where nothing can be found.

    The first text under the first ``if`` on ``.ToolCalls`` that stands before any value, up to a brace.
    """
    for statement in statements(tree.root):
        if isinstance(statement, Branch) and statement.keyword == "if" and "ToolCalls" in _names(statement.pipe):
            text = next(_leading_text(statement.body), None) or ""
            return text.split("{")[0].strip() or _DEFAULT_TOOL_TAG
    return _DEFAULT_TOOL_TAG


def has_tool_round_trip(tree: Tree) -> bool:
    """Whether the template shows tools, calls and the results of calls."""
    marks = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    return uses(tree, ".Tools") and uses(tree, ".ToolCalls") and any(mark in tree.source for mark in marks)


def _body_names(body: Body) -> Iterator[str]:
    for statement in statements(body):
        if isinstance(statement, Action | Branch | Invoke):
            yield from _names(statement.pipe)


def _names(pipe: Pipe | None) -> Iterator[str]:
    for operand in operands(pipe):
        if isinstance(operand, Field | Variable | Chain):
            yield from operand.names


def _cut(body: Body) -> tuple[Body, bool]:
    """The part of ``body`` before ``.Response`` is printed, and whether it is."""
    for i, statement in enumerate(body):
        if isinstance(statement, Action) and "Response" in _names(statement.pipe):
            return body[:i], True
        if isinstance(statement, Branch):
            kept, found = _cut(statement.body)
            if found:
                return (*body[:i], replace(statement, body=kept, orelse=())), True
            kept, found = _cut(statement.orelse)
            if found:
                return (*body[:i], replace(statement, orelse=kept)), True
    return body, False


def _thinking_bodies(body: Body, in_messages: bool) -> Iterator[Body]:
    """Bodies that print ``.Thinking``, where the nearest range is over ``.Messages``."""
    for statement in body:
        if isinstance(statement, Action) and in_messages and "Thinking" in _names(statement.pipe):
            yield body
        if isinstance(statement, Branch):
            inside = "Messages" in _names(statement.pipe) if statement.keyword == "range" else in_messages
            yield from _thinking_bodies(statement.body, inside)
            yield from _thinking_bodies(statement.orelse, in_messages)


def _leading_text(body: Body) -> Iterator[str | None]:
    """The first text that is not only white space, or None where a value comes first. Nothing where neither comes."""
    for statement in body:
        if isinstance(statement, Text):
            if statement.text.strip():
                yield statement.text
        elif isinstance(statement, Branch):
            yield from _leading_text(statement.body)
            yield from _leading_text(statement.orelse)
        elif isinstance(statement, Invoke) or (isinstance(statement, Action) and not statement.pipe.variables):
            yield None
