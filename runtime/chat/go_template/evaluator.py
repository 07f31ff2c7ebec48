"""Runs a tree on a value: scopes, branches, templates that call templates. The rules are text/template/exec's.

Bounds the steps, the depth of calls and the size of every text; knows no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import TemplateError
from .expressions import Expressions, Scope
from .formatting import PLAIN, formatted
from .nodes import Action, Body, Branch, Invoke, Jump, Pipe, Statement, Text, Tree
from .values import Value, truth

MAX_DEPTH = 100  # templates that call templates
MAX_STEPS = 10_000_000


def execute(tree: Tree, data: Value, limit: int) -> str:
    """The text of ``tree`` with ``data`` as dot.

    Raises TemplateError where the template fails, and where a text in it passes ``limit`` characters.
    """
    try:
        return _Run(tree, limit).text(data)
    except RecursionError:
        raise TemplateError(f"template: {tree.name}: nested too deeply") from None
    except MemoryError:
        raise TemplateError(f"template: {tree.name}: ran out of memory") from None


class _Run(Expressions):
    def __init__(self, tree: Tree, limit: int):
        super().__init__(tree, limit, MAX_STEPS)
        self._out: list[str] = []
        self._size = 0
        self._depth = 0

    def text(self, data: Value) -> str:
        self._body(self.tree.root, data, [("$", data)])
        return "".join(self._out).encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def _write(self, pieces: Iterable[str]) -> None:
        for piece in pieces:
            self._out.append(piece)
            self._size += len(piece)
            if self._size > self.limit:
                raise TemplateError(f"template output is over the limit of {self.limit} characters")

    def _body(self, body: Body, dot: Value, scope: Scope) -> str | None:
        """Runs statements; the keyword of a jump that leaves them, if one does."""
        for statement in body:
            self.step()
            jump = self._statement(statement, dot, scope)
            if jump is not None:
                return jump
        return None

    def _statement(self, statement: Statement, dot: Value, scope: Scope) -> str | None:
        match statement:
            case Text():
                self._write((statement.text,))
            case Action():
                value = self.pipe(statement.pipe, dot, scope)
                if not statement.pipe.variables:
                    self._write(_printed(value))
            case Branch():
                n_variables = len(scope)
                jump = self._branch(statement, dot, scope)
                del scope[n_variables:]
                return jump
            case Invoke():
                self._invoke(statement, dot, scope)
            case Jump():
                return statement.keyword
        return None

    def _branch(self, branch: Branch, dot: Value, scope: Scope) -> str | None:
        if branch.keyword == "range":
            return self._range(branch, dot, scope)
        value = self.pipe(branch.pipe, dot, scope)
        if truth(value):
            return self._body(branch.body, value if branch.keyword == "with" else dot, scope)
        return self._body(branch.orelse, dot, scope)

    def _range(self, branch: Branch, dot: Value, scope: Scope) -> str | None:
        pipe = branch.pipe
        value = self.value(pipe, dot, scope)
        n_outside = len(scope)
        scope += [] if pipe.assigns else [(name, None) for name in pipe.variables]
        n_variables = len(scope)
        empty = True
        for key, element in self._elements(pipe, value):
            empty = False
            self.step()
            self._bind(pipe, key, element, scope, n_outside)
            jump = self._body(branch.body, element, scope)
            del scope[n_variables:]
            if jump == "break":
                break
        return self._body(branch.orelse, dot, scope) if empty else None

    def _elements(self, pipe: Pipe, value: Value) -> Iterator[tuple[Value, Value]]:
        over = pipe.commands[-1].args[0]
        match value:
            case None:
                return iter(())
            case list():
                return iter(enumerate(value))
            case dict():
                return iter(sorted(value.items()))
            case int() if not isinstance(value, bool):
                if len(pipe.variables) > 1:
                    raise self.fault(over, f"can't use {value} to iterate over more than one variable")
                return ((i, i) for i in range(value))
        raise self.fault(over, f"range can't iterate over {''.join(_printed(value))}")

    def _bind(self, pipe: Pipe, key: Value, element: Value, scope: Scope, at: int) -> None:
        """With two variables the first is the index; one is the element."""
        values = (key, element) if len(pipe.variables) > 1 else (element,)
        for i, (name, value) in enumerate(zip(pipe.variables, values, strict=False)):
            if pipe.assigns:
                self.assign(pipe, name, value, scope)
            else:
                scope[at + i] = (name, value)

    def _invoke(self, statement: Invoke, dot: Value, scope: Scope) -> None:
        body = self.tree.defined.get(statement.name)
        if body is None:
            raise self.fault(statement, f'template "{statement.name}" not defined')
        if self._depth >= MAX_DEPTH:
            raise self.fault(statement, f"templates call each other more than {MAX_DEPTH} deep")
        value = self.pipe(statement.pipe, dot, scope) if statement.pipe else None
        self._depth += 1
        running, self.running = self.running, statement.name
        self._body(body, value, [("$", value)])
        self.running = running
        self._depth -= 1


def _printed(value: Value) -> Iterator[str]:
    return iter(("<no value>",)) if value is None else formatted(PLAIN, value)
