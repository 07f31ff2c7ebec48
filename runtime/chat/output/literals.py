"""Values in the spellings of Python and of Gemma: read by a small parser of our own, never evaluated.

    [1, -2.5, True, null, 'it\\'s', {"a": (1, 2)}]        {city:<|"|>Köln<|"|>,days:3}

It goes ahead only, so its time is linear; nesting is bounded.
"""

from __future__ import annotations

import re
from typing import Any

from .values import MAX_DEPTH, Broken, number

_SPACE = re.compile(r"\s*")
_STRINGS = {quote: re.compile(rf"{quote}((?:[^{quote}\\]++|\\.)*+){quote}", re.DOTALL) for quote in "'\""}
_KEY = re.compile(r"""[^\s:=,(){}\[\]"']{1,256}""")
_BARE = re.compile(r"[^,(){}\[\]]*+")
_BARE_OR_ROUND = re.compile(r"[^,{}\[\]]*+")
_ESCAPE = re.compile(r"\\(U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "'": "'", '"': '"', "\n": ""}
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}


class Literals:
    """Reads ``text`` from ``at`` on. All methods raise Broken.

    With ``delimiter`` the spelling is Gemma's: that is one more quote, in whose strings nothing is escaped, and round
    brackets mean nothing. With ``mend``, the end of the text closes what is open.
    """

    def __init__(self, text: str, *, delimiter: str = "", mend: bool = False) -> None:
        self.text, self.at = text, 0
        self._delimiter, self._mend = delimiter, mend
        self._lists = {"[": "]"} if delimiter else {"[": "]", "(": ")"}
        self._bare_text = _BARE_OR_ROUND if delimiter else _BARE

    def take(self, mark: str) -> bool:
        """Whether ``mark`` comes next, after white space; it is read then."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def ended(self) -> bool:
        """Whether only white space is left; it is read then."""
        return self.take("") and self.at == len(self.text)

    def mapping(self, separator: str, closing: str, depth: int = MAX_DEPTH) -> dict[str, Any]:
        """Keys and values up to ``closing``. Keys may stand without quotes."""
        found: dict[str, Any] = {}
        while not self._closed(closing):
            key = self._string()
            if key is None:
                bare = _KEY.match(self.text, self.at)
                if bare is None:
                    raise Broken(f"a key is missing at character {self.at}")
                key, self.at = bare.group(), bare.end()
            if not self.take(separator):
                raise Broken(f'"{separator}" is missing at character {self.at}')
            found[key] = self.value(depth - 1)
            self._between(closing)
        return found

    def value(self, depth: int = MAX_DEPTH) -> Any:
        """Any value. Text that is nothing else is a string up to the next comma or bracket."""
        if depth == 0:
            raise Broken("nested too deep")
        if self.take("{"):
            return self.mapping(":", "}", depth)
        for opening, closing in self._lists.items():
            if self.take(opening):
                return self._items(closing, depth)
        text = self._string()
        return self._bare() if text is None else text

    def _items(self, closing: str, depth: int) -> list[Any]:
        found = []
        while not self._closed(closing):
            found.append(self.value(depth - 1))
            self._between(closing)
        return found

    def _closed(self, closing: str) -> bool:
        return self.take(closing) or (self._mend and self.ended())

    def _between(self, closing: str) -> None:
        """A comma, unless the bracket closes next."""
        if self.take(",") or self.text.startswith(closing, self.at) or (self._mend and self.ended()):
            return
        raise Broken(f'"," or "{closing}" is missing at character {self.at}')

    def _string(self) -> str | None:
        if self._delimiter and self.take(self._delimiter):
            return self._delimited()
        self.take("")
        pattern = _STRINGS.get(self.text[self.at : self.at + 1])
        if pattern is None:
            return None
        found = pattern.match(self.text, self.at)
        if found is None:
            raise Broken("a string is not closed")
        self.at = found.end()
        return unescape(found.group(1))

    def _delimited(self) -> str:
        start, end = self.at, self.text.find(self._delimiter, self.at)
        if end >= 0:
            self.at = end + len(self._delimiter)
            return self.text[start:end]
        if not self._mend:
            raise Broken("a string is not closed")
        text = self.text[start:].rstrip()
        text = text[:-1] if text.endswith(("}", "]")) else text
        self.at = start + len(text)
        return text

    def _bare(self) -> Any:
        found = self._bare_text.match(self.text, self.at)
        text = found.group().strip() if found else ""
        if not found or not text:
            raise Broken(f"a value is missing at character {self.at}")
        self.at = found.end()
        if text in _WORDS:
            return _WORDS[text]
        value = number(text)
        return text if value is None else value


def unescape(text: str) -> str:
    """``text`` with Python's and JSON's escapes replaced; what is none of them stays as it is."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(_unescaped, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescaped(found: re.Match[str]) -> str:
    code = found.group(1)
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, found.group())
