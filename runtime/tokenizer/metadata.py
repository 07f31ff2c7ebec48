"""Reads GGUF's ``tokenizer.ggml.*`` keys with their types and bounds checked. Knows of no key what it is for.

Arrays that do not fit are refused. Ids outside the vocabulary are ignored with a warning: files in the wild have
them, and nothing depends on most.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ..errors import InvalidFile, cut

__all__ = ["TokenizerKeys"]

log = logging.getLogger(__name__)

_PREFIX = "tokenizer.ggml."


class TokenizerKeys:
    """``metadata`` of a model file; keys are named by what follows ``tokenizer.ggml.``."""

    def __init__(self, metadata: Mapping[str, Any]):
        self.metadata = metadata

    @cached_property
    def tokens(self) -> Sequence[str]:
        """The vocabulary, as the metadata has it. Raises InvalidFile if there is none."""
        tokens = self._array("tokens")
        if not tokens:
            raise self.invalid("tokens", "is empty")
        return tokens

    @property
    def n_vocab(self) -> int:
        return len(self.tokens)

    def strings(self, key: str) -> list[str]:
        """An array of strings, as a new list. Raises InvalidFile for anything else, and if there is none."""
        strings = self._checked(key, self._array(key), str)
        try:
            "".join(strings).encode()
        except UnicodeEncodeError:
            raise self.invalid(key, "an element has an unpaired surrogate, which is no character") from None
        return strings

    def numbers_per_token(self, key: str) -> array[float]:
        """One number for each token, none of them NaN. Raises InvalidFile."""
        numbers = array("d", self._checked(key, self._per_token(key), float, int))
        # Any NaN makes the sum one, and so do infinities of both signs: neither has a place in an order.
        if math.isnan(sum(numbers)):
            raise self.invalid(key, "a value is not a number")
        return numbers

    def integers_per_token(self, key: str) -> list[int]:
        """One integer for each token, or none at all. Raises InvalidFile."""
        return self._checked(key, self._per_token(key), int) if self._has(key) else []

    def token_id(self, key: str, default: int | None = None) -> int | None:
        """An id of the vocabulary; None, with a warning, for anything else. So is a default outside of it."""
        value = self.metadata.get(_PREFIX + key)
        if value is None:
            return default if default is not None and default < self.n_vocab else None
        if self._is_id(value):
            return int(value)
        log.warning("key %s%s: %s is no id of the %d tokens, ignored", _PREFIX, key, cut(value), self.n_vocab)
        return None

    def token_ids(self, key: str) -> list[int]:
        """Those elements of an array that are ids of the vocabulary. Raises InvalidFile if it is no array."""
        return [value for value in self._array(key) if self._is_id(value)] if self._has(key) else []

    def flag(self, key: str, default: bool) -> bool:
        """Raises InvalidFile for a value that is no bool."""
        value = self.metadata.get(_PREFIX + key, default)
        if not isinstance(value, bool):
            raise self.invalid(key, f"{cut(value)} is not a bool")
        return value

    def text(self, key: str) -> str:
        """Empty if there is none. Raises InvalidFile for a value that is no string."""
        value = self.metadata.get(_PREFIX + key, "")
        if not isinstance(value, str):
            raise self.invalid(key, f"{cut(value)} is not a string")
        return value

    def invalid(self, key: str, reason: str) -> InvalidFile:
        return InvalidFile(f'invalid tokenizer: key "{_PREFIX}{key}": {reason}')

    def _has(self, key: str) -> bool:
        return _PREFIX + key in self.metadata

    def _is_id(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < self.n_vocab

    def _array(self, key: str) -> Sequence[Any]:
        if not self._has(key):
            raise self.invalid(key, "is missing")
        value = self.metadata[_PREFIX + key]
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise self.invalid(key, f"{cut(value)} is not an array")
        return value

    def _per_token(self, key: str) -> Sequence[Any]:
        values = self._array(key)
        if len(values) != self.n_vocab:
            raise self.invalid(key, f"has {len(values)} values for {self.n_vocab} tokens")
        return values

    def _checked(self, key: str, values: Sequence[Any], *types: type) -> list[Any]:
        items = list(values)
        for found in set(map(type, items)) - set(types):
            raise self.invalid(key, f"an element is of type {found.__name__}, not {types[0].__name__}")
        return items
