"""What stands inside an action: pipelines, commands, operands. The rules and messages of Go's text/template/parse."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ...errors import TemplateError
from . import literals
from .errors import parse_error
from .lexer import KEYWORDS, Token
from .nodes import Chain, Command, Dot, Field, Function, Literal, Nil, Operand, Pipe, Variable

MAX_NESTING = 100  # branches and parentheses, one inside the other

_OPERANDS = frozenset(
    ("bool", "char", "dot", "field", "identifier", "left paren", "nil", "number", "string", "variable")
)


class PipelineParser:
    """Reads ``tokens`` one after the other. ``variables`` are those in scope."""

    def __init__(self, source: str, name: str, functions: Collection[str], tokens: list[Token]):
        self.source, self.name = source, name
        self.variables = ["$"]
        self._functions = functions
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def next(self) -> Token:
        token = self._tokens[min(self._at, len(self._tokens) - 1)]
        self._at += 1
        return token

    def next_word(self) -> Token:
        """The next token that is no space."""
        token = self.next()
        return self.next() if token.kind == "space" else token

    def back(self) -> None:
        self._at -= 1

    def peek(self) -> Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def peek_word(self) -> Token:
        """The next token that is no space; spaces before it are gone."""
        token = self.next_word()
        self.back()
        return token

    def peek_action(self) -> Token:
        """The first word of the action that the next token opens."""
        rest = self._tokens[self._at + 1 : self._at + 3]
        return next((token for token in rest if token.kind != "space"), self._tokens[-1])

    def expect(self, kind: str, context: str) -> Token:
        token = self.next_word()
        if token.kind != kind:
            raise self.unexpected(token, context)
        return token

    def error(self, message: str) -> TemplateError:
        return parse_error(self.name, self.source, self._tokens[min(self._at, len(self._tokens)) - 1].pos, message)

    def unexpected(self, token: Token, context: str) -> TemplateError:
        if token.kind == "error":
            return self.error(token.text + self._started_before(token))
        return self.error(f"unexpected {_shown(token)} in {context}")

    def _started_before(self, error: Token) -> str:
        """Where the action of a lexical error began, if that is another line."""
        start = max((token.pos for token in self._tokens if token.kind == "open"), default=error.pos)
        if "\n" not in self.source[start : error.pos]:
            return ""
        place = f" started at {self.name}:{1 + self.source.count(chr(10), 0, start)}"
        return place if error.text.endswith(" action") else " in action" + place

    @contextmanager
    def nested(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self.error(f"nested more than {MAX_NESTING} deep")
        yield
        self._depth -= 1

    def pipeline(self, context: str, end: str) -> Pipe:
        """A pipeline up to a token of kind ``end``, which is consumed. Declares its variables."""
        pos = self.peek_word().pos
        variables, assigns = self._targets(context)
        commands: list[Command] = []
        while (token := self.next_word()).kind != end:
            if token.kind not in _OPERANDS:
                raise self.unexpected(token, context)
            self.back()
            commands.append(self._command())
        if not commands:
            raise self.error(f"missing value for {context}")
        for i, command in enumerate(commands[1:]):
            if isinstance(command.args[0], Literal | Dot | Nil):
                raise self.error(f"non executable command in pipeline stage {i + 2}")
        return Pipe(pos, tuple(commands), tuple(variables), assigns)

    def _targets(self, context: str) -> tuple[list[str], bool]:
        """Variables that are declared or assigned to, in front of a pipeline; and whether it is an assignment."""
        names: list[str] = []
        while self.peek_word().kind == "variable":
            start = self._at
            name = self.next().text
            following = self.next_word()
            if following.kind in ("declare", "assign"):
                self.variables.append(name)
                return [*names, name], following.kind == "assign"
            if following.text != ",":
                self._at = start
                return [], False
            names.append(name)
            self.variables.append(name)
            if context != "range" or len(names) > 1:
                raise self.error(f"too many declarations in {context}")
            if self.peek_word().kind not in ("variable", "close", "right paren"):
                raise self.error("range can only initialize variables")
        return names, False

    def _command(self) -> Command:
        pos = self.peek_word().pos
        args: list[Operand] = []
        while True:
            operand = self._operand()
            if operand is not None:
                args.append(operand)
            token = self.next()
            if token.kind == "space":
                continue
            if token.kind in ("close", "right paren"):
                self.back()
            elif token.kind != "pipe":
                raise self.unexpected(token, "operand")
            break
        if not args:
            raise self.error("empty command")
        return Command(pos, tuple(args))

    def _operand(self) -> Operand | None:
        """A term and the fields right after it. None where no term begins."""
        term = self._term()
        pos = self.peek().pos
        names: list[str] = []
        while term is not None and self.peek().kind == "field":
            names.append(self.next().text[1:])
        if term is None or not names:
            return term
        if isinstance(term, Field):
            return Field(pos, (*term.names, *names))
        if isinstance(term, Variable):
            return Variable(pos, term.name, (*term.names, *names))
        if isinstance(term, Literal | Nil | Dot):
            raise self.error(f'unexpected . after term "{term}"')
        return Chain(pos, term, tuple(names))

    def _term(self) -> Operand | None:
        token = self.next_word()
        pos, text = token.pos, token.text
        match token.kind:
            case "identifier":
                if text not in self._functions:
                    raise self.error(f'function "{text}" not defined')
                return Function(pos, text)
            case "dot":
                return Dot(pos)
            case "nil":
                return Nil(pos)
            case "field":
                return Field(pos, (text[1:],))
            case "variable":
                if text not in self.variables:
                    raise self.error(f'undefined variable "{text}"')
                return Variable(pos, text)
            case "left paren":
                with self.nested():
                    return self.pipeline("parenthesized pipeline", "right paren")
            case "bool" | "number" | "char" | "string":
                return self._literal(token)
        self.back()
        return None

    def _literal(self, token: Token) -> Literal:
        if token.kind == "bool":
            return Literal(token.pos, token.text, token.text == "true")
        read = {"number": literals.number, "char": literals.character, "string": literals.string}[token.kind]
        try:
            return Literal(token.pos, token.text, read(token.text))
        except ValueError as error:
            raise self.error(str(error)) from None


def _shown(token: Token) -> str:
    """As Go prints a token."""
    if token.kind == "eof":
        return "EOF"
    if token.kind in KEYWORDS or token.kind == "dot":
        return f"<{token.text}>"
    text = token.text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{text[:10]}"...' if len(token.text) > 10 else f'"{text}"'
