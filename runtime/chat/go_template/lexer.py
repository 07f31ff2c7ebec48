"""Source to tokens, as the scanner of Go's text/template/parse does it. Knows no grammar.

A lexical error is the last token, so that an error of grammar before it is found first, as in Go.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

SPACE = " \t\r\n"
KEYWORDS = frozenset(["break", "block", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"])

_COMMENT = re.compile(r"(-[ \t\r\n])?/\*")
_TRIM_LEFT = re.compile(r"-(?=[ \t\r\n])")
_CLOSE = re.compile(r"(?P<trim>[ \t\r\n]-)?\}\}")
_SPACE = re.compile(r"[ \t\r\n]+?(?=[ \t\r\n]-\}\})|[ \t\r\n]+")
_NAME = re.compile(r"\w*")
_DIGITS = r"[0-9_]*"
_NUMBER = re.compile(
    r"[+-]?(0[xX][0-9a-fA-F_]*(\.[0-9a-fA-F_]*)?([pP][+-]?[0-9_]*)?|0[oO][0-7_]*|0[bB][01_]*"
    rf"|{_DIGITS}(\.{_DIGITS})?([eE][+-]?{_DIGITS})?)i?"
)
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
_RAW = re.compile(r"`[^`]*`")
_LITERALS = (
    ('"', _QUOTED, "string", "unterminated quoted string"),
    ("`", _RAW, "string", "unterminated raw quoted string"),
    ("'", _CHARACTER, "char", "unterminated character constant"),
)
_PUNCTUATION = {":=": "declare", "=": "assign", "|": "pipe", "(": "left paren", ")": "right paren"}


class Token(NamedTuple):
    """``kind`` is a keyword or one of: text, open, close, space, declare, assign, pipe, left paren, right paren, dot,
    field, variable, identifier, bool, number, char, string, other, error, eof."""

    kind: str
    pos: int
    text: str


class _LexicalError(Exception):
    def __init__(self, pos: int, message: str):
        super().__init__(message)
        self.pos = pos


def tokenize(source: str) -> Iterator[Token]:
    """All tokens of ``source``; the last one is ``eof`` or ``error``, whose text is the message."""
    try:
        yield from _template(source)
    except _LexicalError as error:
        yield Token("error", error.pos, str(error))
    else:
        yield Token("eof", len(source), "")


def _template(source: str) -> Iterator[Token]:
    at, trim = 0, False
    while at < len(source):
        start = _skip_space(source, at) if trim else at
        found = source.find("{{", start)
        end = found if found >= 0 else len(source)
        text = source[start:end]
        trims_left = found >= 0 and _TRIM_LEFT.match(source, found + 2) is not None
        if text := text.rstrip(SPACE) if trims_left else text:
            yield Token("text", start, text)
        if found < 0:
            return
        at, trim = yield from _action(source, found, found + 3 if trims_left else found + 2)


def _action(source: str, start: int, at: int) -> Generator[Token, None, tuple[int, bool]]:
    """Yields the tokens of one action. Returns where the text goes on, and whether its left is trimmed."""
    comment = _COMMENT.match(source, start + 2)
    if comment:
        return _after_comment(source, comment.end())
    yield Token("open", start, "{{")
    depth = 0
    while (close := _CLOSE.match(source, at)) is None:
        token = _token(source, at)
        depth += (token.kind == "left paren") - (token.kind == "right paren")
        if depth < 0:
            raise _LexicalError(at, "unexpected right paren")
        yield token
        at += len(token.text)
    if depth:
        raise _LexicalError(at, "unclosed left paren")
    yield Token("close", close.end() - 2, "}}")
    return close.end(), close["trim"] is not None


def _after_comment(source: str, at: int) -> tuple[int, bool]:
    end = source.find("*/", at)
    if end < 0:
        raise _LexicalError(at, "unclosed comment")
    close = _CLOSE.match(source, end + 2)
    if close is None:
        raise _LexicalError(at, "comment ends before closing delimiter")
    return close.end(), close["trim"] is not None


def _token(source: str, at: int) -> Token:
    if at >= len(source):
        raise _LexicalError(at, "unclosed action")
    char = source[at]
    if char in SPACE:
        return Token("space", at, _matched(_SPACE, source, at))
    for quote, pattern, kind, message in _LITERALS:
        if char == quote:
            match = pattern.match(source, at)
            if match is None:
                raise _LexicalError(at, message)
            return Token(kind, at, match[0])
    for text in (":=", char):
        if text in _PUNCTUATION and source.startswith(text, at):
            return Token(_PUNCTUATION[text], at, text)
    if char == ":":
        raise _LexicalError(at, "expected :=")
    return _word(source, at, char)


def _word(source: str, at: int, char: str) -> Token:
    following = source[at + 1 : at + 2]
    if char in "+-" or _is_digit(char) or (char == "." and _is_digit(following)):
        return _number(source, at)
    if char in ".$":
        name = char + _matched(_NAME, source, at + 1)
        kind = "variable" if char == "$" else "field" if len(name) > 1 else "dot"
    elif _is_letter(char):
        name = _matched(_NAME, source, at)
        kind = "bool" if name in ("true", "false") else name if name in KEYWORDS else "identifier"
    elif char.isascii() and char.isprintable():
        return Token("other", at, char)
    else:
        raise _LexicalError(at, f"unrecognized character in action: {unicode_name(char)}")
    end = at + len(name)
    if not _is_terminator(source, end):
        raise _LexicalError(at, f"bad character {unicode_name(source[end])}")
    return Token(kind, at, name)


def _number(source: str, at: int) -> Token:
    text = _matched(_NUMBER, source, at)
    end = at + len(text)
    if source[end : end + 1] and (_is_letter(source[end]) or _is_digit(source[end])):
        raise _LexicalError(at, f'bad number syntax: "{text + source[end]}"')
    return Token("number", at, text)


def _is_terminator(source: str, at: int) -> bool:
    return at >= len(source) or source[at] in " \t\r\n.,|:()" or source.startswith("}}", at)


def _is_letter(char: str) -> bool:
    return char == "_" or char.isalpha()


def _is_digit(char: str) -> bool:
    return "0" <= char <= "9"


def _matched(pattern: re.Pattern[str], source: str, at: int) -> str:
    match = pattern.match(source, at)
    assert match is not None
    return match[0]


def _skip_space(source: str, at: int) -> int:
    while at < len(source) and source[at] in SPACE:
        at += 1
    return at


def unicode_name(char: str) -> str:
    """As Go's %#U: ``U+0021 '!'``."""
    return f"U+{ord(char):04X} '{char}'" if char.isprintable() else f"U+{ord(char):04X}"
