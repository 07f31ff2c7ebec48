"""JSON from a model folder, read strictly: no key twice, no NaN, no endless digits or nesting, and a limit on size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ..errors import InvalidFile, cut

__all__ = ["Fields", "parse"]

_MAX_INT = 2**31 - 1


def parse(text: str | bytes, part: str, malformed: Callable[[str, str], InvalidFile]) -> dict[str, Any]:
    """The object in ``text``. Raises what ``malformed(part, reason)`` makes."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise malformed(part, "a key is there twice")
        return members

    def refuse(constant: str) -> NoReturn:
        raise malformed(part, f"{constant} is not a number")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or a number too long"
        raise malformed(part, f"is not JSON: {reason}") from None
    if not isinstance(value, dict):
        raise malformed(part, "is not an object")
    return value


class Fields:
    """Typed access to one JSON object. Every error names the object (``part``) and the key."""

    def __init__(self, data: Mapping[str, Any], part: str, malformed: Callable[[str, str], InvalidFile]):
        self.data = data
        self._part = part
        self._malformed = malformed

    def replaced(self, data: Mapping[str, Any]) -> Fields:
        """Another object that is called as this one."""
        return Fields(data, self._part, self._malformed)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.data.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, low: int = 1, high: int = _MAX_INT) -> int:
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(key, f"is {cut(value)}, not a whole number from {low} to {high}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive, finite number."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise self.wrong(key, f"is {cut(value)}, not a positive number")
        return float(value)

    def numbers(self, key: str, n: int) -> list[float]:
        """A list of ``n`` positive, finite numbers."""
        values = self._get(key, None)
        if not isinstance(values, list) or len(values) != n:
            raise self.wrong(key, f"is {cut(values)}, not a list of {n} numbers")
        return [Fields({key: value}, self._part, self._malformed).number(key) for value in values]

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self._get(key, default)
        if type(value) is not bool:
            raise self.wrong(key, f"is {cut(value)}, not true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, f"is {cut(value)}, not a text")
        return value

    def fields(self, key: str) -> Fields:
        """An object; an empty one where the key is missing or null."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"is {cut(value)}, not an object")
        return Fields(value, f"{self._part}: {key}", self._malformed)

    def items(self, key: str) -> list[Any]:
        """A list; an empty one where the key is missing or null."""
        value = self._get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, f"is {cut(value)}, not a list")
        return value

    def wrong(self, key: str, reason: str) -> InvalidFile:
        """The error about one key."""
        return self._malformed(self._part, f"{cut(key)} {reason}")

    def _get(self, key: str, default: Any) -> Any:
        value = self.data.get(key)
        if value is not None:
            return value
        if default is None:
            raise self.wrong(key, "is missing")
        return default
