"""Tokens to a ``Tree``: texts, branches and definitions. What stands inside an action is ``pipelines``' part."""

from __future__ import annotations

from collections.abc import Collection

from . import literals
from .lexer import tokenize
from .nodes import Action, Body, Branch, Invoke, Jump, Pipe, Statement, Text, Tree
from .pipelines import PipelineParser

# How a list of statements ends, beside the end of the source.
_END, _ELSE = "end", "else"


def parse(source: str, name: str, functions: Collection[str]) -> Tree:
    """The tree of ``source``. Raises TemplateError with Go's message."""
    return _Parser(source, name, functions).parse()


class _Parser(PipelineParser):
    def __init__(self, source: str, name: str, functions: Collection[str]):
        super().__init__(source, name, functions, list(tokenize(source)))
        self._defined: dict[str, Body] = {}
        self._n_ranges = 0

    def parse(self) -> Tree:
        body: list[Statement] = []
        while self.peek().kind != "eof":
            if self.peek().kind == "open" and self.peek_action().kind == "define":
                self._definition()
                continue
            statement = self._statement()
            if isinstance(statement, str):
                raise self.error(f"unexpected {{{{{statement}}}}}")
            body += statement
        return Tree(self.name, self.source, tuple(body), self._defined)

    def _definition(self) -> None:
        self.next()
        self.next_word()
        name = self._template_name("define clause")[0]
        self.expect("close", "define clause")
        body, ended_by = self._body_of_own_scope()
        if ended_by != _END:
            raise self.error("unexpected {{else}} in define clause")
        self._define(name, body)

    def _define(self, name: str, body: Body) -> None:
        """An empty definition may be replaced, and does not replace."""
        if not _is_empty(self._defined.get(name, ())):
            if not _is_empty(body):
                raise self.error(f'template: multiple definition of template "{name}"')
            return
        self._defined[name] = body

    def _body_of_own_scope(self) -> tuple[Body, str]:
        """The body of a definition, which sees no variables but ``$``, and no range around it."""
        variables, n_ranges = self.variables, self._n_ranges
        self.variables, self._n_ranges = ["$"], 0
        body, ended_by = self._body()
        self.variables, self._n_ranges = variables, n_ranges
        return body, ended_by

    def _body(self) -> tuple[Body, str]:
        """Statements up to ``{{end}}`` or ``{{else}}``, and which of the two it was."""
        body: list[Statement] = []
        with self.nested():
            while self.peek().kind != "eof":
                statement = self._statement()
                if isinstance(statement, str):
                    return tuple(body), statement
                body += statement
        raise self.error("unexpected EOF")

    def _statement(self) -> tuple[Statement, ...] | str:
        """The next statement, in a tuple; or what ended the list. Nothing for a block's empty definition."""
        token = self.next()
        if token.kind == "text":
            return (Text(token.pos, token.text),)
        if token.kind != "open":
            raise self.unexpected(token, "input")
        word = self.next_word()
        if word.kind in ("if", "with", "range"):
            return (self._branch(word.kind, word.pos),)
        if word.kind == "template":
            return (self._invoke(),)
        if word.kind == "block":
            return (self._block(),)
        if word.kind in ("break", "continue"):
            return (self._jump(word.kind, word.pos),)
        if word.kind == _END:
            self.expect("close", "end")
            return _END
        if word.kind == _ELSE:
            return self._else()
        self.back()
        pipe = self.pipeline("command", "close")
        return (Action(pipe.pos, pipe),)

    def _else(self) -> str:
        if self.peek_word().kind not in ("if", "with"):  # "else if" is read on by the branch
            self.expect("close", "else")
        return _ELSE

    def _branch(self, keyword: str, pos: int) -> Branch:
        n_variables = len(self.variables)
        pipe = self.pipeline(keyword, "close")
        self._n_ranges += keyword == "range"
        body, ended_by = self._body()
        self._n_ranges -= keyword == "range"
        orelse: Body = ()
        if ended_by == _ELSE:
            orelse = self._orelse(keyword)
        del self.variables[n_variables:]
        return Branch(pos, keyword, pipe, body, orelse)

    def _orelse(self, keyword: str) -> Body:
        word = self.peek_word()
        if word.kind in ("if", "with"):
            if word.kind != keyword:
                raise self.unexpected(word, "input")
            self.next_word()
            with self.nested():
                return (self._branch(keyword, word.pos),)
        body, ended_by = self._body()
        if ended_by != _END:
            raise self.error("expected end; found {{else}}")
        return body

    def _invoke(self) -> Invoke:
        pos = self.peek_word().pos
        name, quoted = self._template_name("template clause")
        pipe: Pipe | None = None
        if self.next_word().kind != "close":
            self.back()
            pipe = self.pipeline("template clause", "close")
        return Invoke(pos, name, quoted, pipe)

    def _block(self) -> Invoke:
        pos = self.peek_word().pos
        name, quoted = self._template_name("block clause")
        pipe = self.pipeline("block clause", "close")
        body, ended_by = self._body_of_own_scope()
        if ended_by != _END:
            raise self.error("unexpected {{else}} in block clause")
        self._define(name, body)
        return Invoke(pos, name, quoted, pipe)

    def _jump(self, keyword: str, pos: int) -> Jump:
        self.expect("close", f"{{{{{keyword}}}}}")
        if not self._n_ranges:
            raise self.error(f"{{{{{keyword}}}}} outside {{{{range}}}}")
        return Jump(pos, keyword)

    def _template_name(self, context: str) -> tuple[str, str]:
        token = self.next_word()
        if token.kind != "string":
            raise self.unexpected(token, context)
        try:
            return literals.string(token.text), token.text
        except ValueError as error:
            raise self.error(str(error)) from None


def _is_empty(body: Body) -> bool:
    return all(isinstance(statement, Text) and not statement.text.strip() for statement in body)
