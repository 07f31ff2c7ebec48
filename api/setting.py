"""What one setting is: a row with its name, its kind of value, its default and its meaning; and the kinds there are.

Knows neither where values come from nor what they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.runtime.errors import InvalidRequest

from .durations import FOREVER, parse_duration

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
KEY = re.compile(r"[A-Za-z0-9._~+/=-]{1,256}", re.ASCII)  # what a bearer token may hold: RFC 6750, 2.1
TRUE, FALSE = ("1", "t", "true"), ("0", "f", "false")


@dataclass(frozen=True)
class Kind:
    """A kind of value: its name in tables, how a text is read, and what stands for nothing at all.

    ``parse`` raises ValueError, with no text that matters, for what is no such value.
    """

    name: str
    parse: Callable[[str], Any]
    empty: Any = None


@dataclass(frozen=True)
class Setting:
    """One row. ``default`` is a text as a user would write it, empty where nothing is set.

    ``fields`` are those of ``Settings`` that the value goes to: the value itself, or one part of it each. Without any,
    somebody else reads the environment: with ``exported`` we put there what a file says. ``no_effect`` is the
    reason why nothing comes of it. ``client``: it matters to client commands only.
    """

    name: str
    kind: Kind
    default: str
    meaning: str
    fields: tuple[str, ...] = ()
    no_effect: str = ""
    secret: bool = False
    client: bool = False
    exported: bool = False

    @property
    def short(self) -> str:
        """What the file may say as well: ``keep_alive`` for ``OLLAMA_KEEP_ALIVE``; empty for names of others."""
        prefix, _, rest = self.name.partition("_")
        return rest.lower() if prefix in ("OLLAMA", "GRISTMILL") else ""

    @property
    def help(self) -> str:
        """Meaning and default, in one line."""
        return f"{self.meaning} (default {self.default})" if self.default else self.meaning

    def values(self, text: str) -> dict[str, Any]:
        """What ``fields`` become. Raises ValueError for a text that is no such value."""
        if not self.fields:
            return {}
        value = self.kind.parse(text)
        return dict(zip(self.fields, value if len(self.fields) > 1 else (value,), strict=True))


def _flag(text: str) -> bool:
    return text.lower() not in FALSE  # any text that is no boolean counts as true


def _auto_flag(text: str) -> bool | None:
    return None if text.lower() == "auto" else _flag(text)


def _level(text: str) -> int:
    if text.lower() in TRUE:
        return 1
    return min(int(text), 2) if _INTEGER.fullmatch(text) and int(text) > 0 else 0


def _items(text: str) -> tuple[str, ...]:
    return tuple(item for item in map(str.strip, text.split(",")) if item)


def _key(text: str) -> str:
    if not KEY.fullmatch(text):
        raise ValueError
    return text


TEXT = Kind("text", str, "")
WORD = Kind("text", str.lower, "")
PATH = Kind("path", Path)
SECRET = Kind("key", _key, "")
LIST = Kind("list", _items, ())
FLAG = Kind("boolean", _flag)
AUTO_FLAG = Kind("boolean or auto", _auto_flag)
LEVEL = Kind("0 to 2", _level)


def count(zero: int = 0) -> Kind:
    """A number from 0 on; 0 means ``zero``."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or int(text) < 0:
            raise ValueError
        return int(text) or zero

    return Kind("number", parse)


def duration(zero: float = 0.0) -> Kind:
    """Seconds, of a duration or bare seconds; negative is forever, and 0 is ``zero``."""

    def parse(text: str) -> float:
        try:
            value = parse_duration(text) / 1e9
        except InvalidRequest:
            if not _INTEGER.fullmatch(text):
                raise ValueError from None
            value = float(text)
        return FOREVER if value < 0 else value or zero

    return Kind("duration", parse)


def choice(*known: str) -> Kind:
    """One of ``known``, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError
        return text.lower()

    return Kind(" ".join(known), parse)
