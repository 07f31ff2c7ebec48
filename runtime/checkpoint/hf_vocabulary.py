"""The tokens of a tokenizer.json, collected and checked: their texts, and their types as GGUF counts them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import cut
from .limits import Limits
from .safetensors_header import malformed
from .strict_json import Fields

__all__ = ["HfVocabulary"]

# GGUF's token types
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
# Some of these are not flagged as special by their makers, but no text should show or spell them.
_LOOKS_SPECIAL = re.compile(r"<\|[^|]+\|>|<｜[^｜]+｜>|<unused\d+>")
_MAX_PADDING = 65_536
_SPACE = "\u2581"


class HfVocabulary:
    """Texts and types of ``n_vocab`` tokens by id, while they are being collected."""

    def __init__(self, model: Fields, n_vocab: int, limits: Limits):
        self._model = model
        self._limits = limits
        self.ids: dict[str, int] = {}
        ids = model.fields("vocab").data
        if not 1 <= len(ids) <= n_vocab <= min(limits.n_vocab, len(ids) + _MAX_PADDING):
            raise model.wrong("vocab", f"has {len(ids)} tokens, the model {n_vocab}")
        self._texts: list[str | None] = [None] * n_vocab
        self.types = [_UNUSED] * n_vocab
        for text, token_id in ids.items():
            self._set(text, token_id, _NORMAL)

    def add(self, tokens: list[Any]) -> None:
        """``added_tokens``: those beyond the model's vocabulary belong to parts it does not have, and are left out."""
        for token in tokens:
            if not isinstance(token, dict):
                raise self._model.wrong("added_tokens", f"holds {cut(token)}, not an object")
            fields = Fields(token, "tokenizer.json: added_tokens", malformed)
            text = fields.text("content")
            if fields.integer("id", low=0) >= len(self._texts):
                continue
            special = fields.flag("special", False) or _LOOKS_SPECIAL.fullmatch(text)
            self._set(text, fields.integer("id", low=0), _CONTROL if special else _USER_DEFINED)

    def mark_sentencepiece(self, model: Fields) -> None:
        """Byte tokens, the unknown token, and spaces of added tokens as they stand in text."""
        for token_id, text in enumerate(self._texts):
            if text is None:
                continue
            if _BYTE_TOKEN.fullmatch(text):
                self.types[token_id] = _BYTE
            elif self.types[token_id] == _USER_DEFINED:
                self._texts[token_id] = text.replace(_SPACE, " ")
            elif model.has("unk_token") and text == model.text("unk_token"):
                self.types[token_id] = _UNKNOWN

    def respell(self, spelling: Callable[[str], str]) -> None:
        """Change the texts of ordinary tokens."""
        for token_id, text in enumerate(self._texts):
            if text is not None and self.types[token_id] == _NORMAL:
                self._texts[token_id] = spelling(text)

    def padded(self) -> list[str]:
        """All texts; ids without one get a name, as converters to GGUF give them."""
        return [f"[PAD{i}]" if text is None else text for i, text in enumerate(self._texts)]

    def _set(self, text: str, token_id: Any, kind: int) -> None:
        last, limit = len(self._texts) - 1, self._limits.token_bytes
        if type(token_id) is not int or not 0 <= token_id <= last:
            raise self._model.wrong("vocab", f"gives {cut(text)} the id {cut(token_id)}, not one from 0 to {last}")
        if len(text) > limit:
            raise self._model.wrong("vocab", f"has a token of {len(text)} characters, the limit is {limit}")
        if self._texts[token_id] not in (None, text) or self.ids.get(text, token_id) != token_id:
            raise self._model.wrong("vocab", f"has two tokens or two ids where {cut(text)} is {token_id}")
        self._texts[token_id] = text
        self.types[token_id] = kind
        self.ids[text] = token_id
