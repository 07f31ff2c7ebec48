"""``html``, ``js`` and ``urlquery`` of Go's text/template. The guard's marks stay, so that text stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_plus

from ...tokenizer.guard import GUARD

_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def html(text: str) -> str:
    return re.sub("[\0\"'&<>]", lambda match: _HTML[match[0]], text)


def js(text: str) -> str:
    return _between_marks(lambda part: "".join(map(_js_char, part)), text)


def urlquery(text: str) -> str:
    return _between_marks(lambda part: quote_plus(part.encode("utf-8", "surrogateescape")), text)


def _js_char(char: str) -> str:
    if char in _JS:
        return _JS[char]
    return f"\\u{ord(char):04X}" if char < " " or not (char.isascii() or char.isprintable()) else char


def _between_marks(escape: Callable[[str], str], text: str) -> str:
    return GUARD.join(map(escape, text.split(GUARD)))
