"""Evaluates pipelines: operands, field chains, variables, calls. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from ...errors import TemplateError
from .errors import Place, run_error
from .functions import FUNCTIONS
from .nodes import Chain, Command, Dot, Field, Function, Literal, Nil, Operand, Pipe, Tree, Variable
from .values import Record, Value, ValueFault, truth, type_name

Scope: TypeAlias = list[tuple[str, Value]]  # variables, the innermost last

# Work that a step may do unseen; longer texts count as more steps.
_CHARACTERS_PER_STEP = 1000


class Expressions:
    """Evaluates for one run; ``running`` is the name of the template that is being executed."""

    def __init__(self, tree: Tree, limit: int, max_steps: int):
        self.tree = tree
        self.limit = limit
        self.running = tree.name
        self._max_steps = self._steps_left = max_steps

    def step(self, n: int = 1) -> None:
        self._steps_left -= n
        if self._steps_left < 0:
            raise TemplateError(f"template: {self.tree.name}: takes more than {self._max_steps} steps")

    def fault(self, node: Place, message: str) -> TemplateError:
        return run_error(self.tree.name, self.tree.source, node, message, self.running)

    def pipe(self, pipe: Pipe, dot: Value, scope: Scope) -> Value:
        """The pipeline's value; sets its variables."""
        value = self.value(pipe, dot, scope)
        for name in pipe.variables:
            if pipe.assigns:
                self.assign(pipe, name, value, scope)
            else:
                scope.append((name, value))
        return value

    def value(self, pipe: Pipe, dot: Value, scope: Scope) -> Value:
        """The pipeline's value. Each command's value is the last argument of the next one."""
        final: tuple[Value, ...] = ()
        for command in pipe.commands:
            final = (self._command(command, dot, scope, final),)
        return final[0]

    def assign(self, pipe: Pipe, name: str, value: Value, scope: Scope) -> None:
        scope[self._find(pipe, name, scope)] = (name, value)

    def _find(self, node: Place, name: str, scope: Scope) -> int:
        for i in range(len(scope) - 1, -1, -1):
            if scope[i][0] == name:
                return i
        raise self.fault(node, f"undefined variable: {name}")

    def _command(self, command: Command, dot: Value, scope: Scope, final: tuple[Value, ...]) -> Value:
        self.step()
        first = command.args[0]
        if isinstance(first, Function):
            return self._call(command, first.name, command.args[1:], dot, scope, final)
        if len(command.args) > 1 or final:
            raise self.fault(first, _not_callable(first))
        if isinstance(first, Nil):
            raise self.fault(first, "nil is not a command")
        return self._operand(first, dot, scope)

    def _operand(self, operand: Operand, dot: Value, scope: Scope) -> Value:
        self.step()
        match operand:
            case Dot():
                return dot
            case Nil():
                return None
            case Literal():
                return operand.value
            case Field():
                return self._fields(operand, dot, operand.names)
            case Variable():
                value = scope[self._find(operand, operand.name, scope)][1]
                return self._fields(operand, value, operand.names)
            case Chain():
                if isinstance(operand.of, Nil):
                    raise self.fault(operand, f"indirection through explicit nil in {operand}")
                return self._fields(operand, self._operand(operand.of, dot, scope), operand.names)
            case Function():
                return self._call(operand, operand.name, (), dot, scope, ())
            case Pipe():
                return self.pipe(operand, dot, scope)

    def _fields(self, node: Operand, value: Value, names: tuple[str, ...]) -> Value:
        """``value.A.B``. A key that a map lacks is nil. Nil has no fields, unless the first value already was nil."""
        for i, name in enumerate(names):
            if value is None and i == 0:
                return None
            if value is None:
                raise self.fault(node, f"nil pointer evaluating interface {{}}.{name}")
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, Record) and name in value.fields:
                value = value.fields[name]
            else:
                shown = "interface {}" if i and not isinstance(value, Record) else type_name(value)
                raise self.fault(node, f"can't evaluate field {name} in type {shown}")
        return value

    def _call(
        self,
        node: Command | Function,
        name: str,
        args: tuple[Operand, ...],
        dot: Value,
        scope: Scope,
        final: tuple[Value, ...],
    ) -> Value:
        function = FUNCTIONS[name]
        n = len(args) + len(final)
        if n < function.at_least or (function.at_most is not None and n > function.at_most):
            at_least = "at least " if function.at_most is None else ""
            message = f"wrong number of args for {name}: want {at_least}{function.at_least} got {n}"
            raise self.fault(Function(node.pos, name), message)
        if name in ("and", "or"):
            return self._deciding(name == "or", args, dot, scope, final)
        values = [self._operand(arg, dot, scope) for arg in args] + list(final)
        try:
            if name == "call":
                raise ValueFault(_not_a_function(args, values[0]))
            result = function.run(*values)
            return self._text(iter((result,)) if isinstance(result, str) else result)
        except ValueFault as error:
            raise self.fault(node, f"error calling {name}: {error}") from None

    def _deciding(
        self, wanted: bool, args: tuple[Operand, ...], dot: Value, scope: Scope, final: tuple[Value, ...]
    ) -> Value:
        """The first argument that is as ``wanted``, or the last; those after it are not evaluated."""
        value: Value = None
        for arg in args:
            value = self._operand(arg, dot, scope)
            if truth(value) == wanted:
                return value
        return final[0] if final else value

    def _text(self, result: Value) -> Value:
        """A function's result; pieces of a text, or a text, as one that is not too long."""
        if not isinstance(result, Iterator):
            return result
        parts: list[str] = []
        size = 0
        for piece in result:
            size += len(piece)
            if size > self.limit:
                raise TemplateError(f"template makes a text over the limit of {self.limit} characters")
            parts.append(piece)
        self.step(size // _CHARACTERS_PER_STEP)
        return "".join(parts)


def _not_callable(first: Operand) -> str:
    if isinstance(first, Field) or (isinstance(first, Variable) and first.names) or isinstance(first, Chain):
        return f"{first.names[-1]} is not a method but has arguments"
    return f"can't give argument to non-function {first}"


def _not_a_function(args: tuple[Operand, ...], value: Value) -> str:
    if value is None:
        return "call of nil"
    return f"non-function {args[0] if args else ''} of type {type_name(value)}"
