"""The syntax tree of a Go template. ``str`` of a node is the source that Go shows in error messages.

Every node has ``pos``, the index of its first character in the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Dot:
    pos: int

    def __str__(self) -> str:
        return "."


@dataclass(frozen=True)
class Nil:
    pos: int

    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True)
class Literal:
    """A string, number, character or boolean; ``text`` is how it was written."""

    pos: int
    text: str
    value: str | int | float | bool

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Function:
    pos: int
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Field:
    """``.A.B`` of dot."""

    pos: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return _chain(self.names)


@dataclass(frozen=True)
class Variable:
    """``$name.A.B``; ``name`` has its dollar sign."""

    pos: int
    name: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name + _chain(self.names)


@dataclass(frozen=True)
class Chain:
    """``(pipeline).A.B``, or a function's result with fields after it."""

    pos: int
    of: Operand
    names: tuple[str, ...]

    def __str__(self) -> str:
        return _in_command(self.of) + _chain(self.names)


@dataclass(frozen=True)
class Command:
    """A value, or a function and its arguments, between the bars of a pipeline."""

    pos: int
    args: tuple[Operand, ...]

    def __str__(self) -> str:
        return " ".join(map(_in_command, self.args))


@dataclass(frozen=True)
class Pipe:
    """Commands that hand their values on; ``variables`` are declared with it, or assigned to."""

    pos: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False

    def __str__(self) -> str:
        target = f"{', '.join(self.variables)} {'=' if self.assigns else ':='} " if self.variables else ""
        return target + " | ".join(map(str, self.commands))


Operand: TypeAlias = Dot | Nil | Literal | Function | Field | Variable | Chain | Pipe


@dataclass(frozen=True)
class Text:
    pos: int
    text: str


@dataclass(frozen=True)
class Action:
    """Prints its pipeline, unless that sets variables."""

    pos: int
    pipe: Pipe


@dataclass(frozen=True)
class Branch:
    """``if``, ``with`` or ``range``; "else if" is a branch inside ``orelse``."""

    pos: int
    keyword: str
    pipe: Pipe
    body: Body
    orelse: Body = ()


@dataclass(frozen=True)
class Invoke:
    """``{{template "name" pipeline}}``."""

    pos: int
    name: str
    quoted: str
    pipe: Pipe | None

    def __str__(self) -> str:
        return f"{{{{template {self.quoted}{f' {self.pipe}' if self.pipe else ''}}}}}"


@dataclass(frozen=True)
class Jump:
    """``break`` or ``continue``."""

    pos: int
    keyword: str


Statement: TypeAlias = Text | Action | Branch | Invoke | Jump
Body: TypeAlias = tuple[Statement, ...]


@dataclass(frozen=True)
class Tree:
    """A parsed source: the template itself, and those that it defines."""

    name: str
    source: str
    root: Body
    defined: Mapping[str, Body]


def statements(body: Body) -> Iterator[Statement]:
    """All statements in the order of the source, nested ones after the one that holds them."""
    for statement in body:
        yield statement
        if isinstance(statement, Branch):
            yield from statements(statement.body)
            yield from statements(statement.orelse)


def operands(pipe: Pipe | None) -> Iterator[Operand]:
    """All operands of a pipeline, those of its parentheses included."""
    for command in pipe.commands if pipe else ():
        for operand in command.args:
            yield operand
            inner = operand.of if isinstance(operand, Chain) else operand
            if inner is not operand:
                yield inner
            if isinstance(inner, Pipe):
                yield from operands(inner)


def _chain(names: tuple[str, ...]) -> str:
    return "".join(f".{name}" for name in names)


def _in_command(operand: Operand) -> str:
    return f"({operand})" if isinstance(operand, Pipe) else str(operand)
