"""Byte-level BPE (``gpt2``) on the tokenizers library: every byte is a printable character of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from .base import Tokenizer
from .pretokenize import PreTokenizer
from .vocabulary import Vocabulary

__all__ = ["ByteLevelTokenizer"]


class ByteLevelTokenizer(Tokenizer):
    """``pieces``: text -> id of the tokens that ordinary text becomes. ``merges``: ``left right``, in order of rank."""

    def __init__(self, vocabulary: Vocabulary, pieces: dict[str, int], merges: Sequence[str], rule: PreTokenizer):
        super().__init__(vocabulary)
        self._library = _build(pieces, merges, rule)

    def _encode_text(self, text: str, at_start: bool) -> list[int]:
        ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return ids

    def _piece_bytes(self, piece: str) -> bytes:
        known = self._alphabet
        return b"".join(known.get(char) or char.encode() for char in piece)

    @cached_property
    def _alphabet(self) -> dict[str, bytes]:
        """Character -> byte, as in GPT-2: printable ones of Latin-1 are themselves, the rest follow from U+0100 on.

        https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode
        """
        printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
        others = [byte for byte in range(256) if byte not in printable]
        table = {chr(byte): bytes([byte]) for byte in printable}
        return table | {chr(256 + i): bytes([byte]) for i, byte in enumerate(others)}


def _build(pieces: dict[str, int], merges: Sequence[str], rule: PreTokenizer) -> Any:
    from tokenizers import Regex, pre_tokenizers
    from tokenizers import Tokenizer as Library

    library = Library(_build_model(pieces, merges, rule.ignore_merges))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rule.patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    return library


def _build_model(pieces: dict[str, int], merges: Sequence[str], ignore_merges: bool) -> Any:
    from tokenizers.models import BPE

    pairs = [(left, right) for left, gap, right in (text.partition(" ") for text in merges) if gap]
    # The library raises for merges with unknown halves and panics for a result longer than any token. Looking at
    # each merge first would take half as long as all of this, so only what can panic is ruled out.
    if _max_bytes(merges) <= _max_bytes(pieces) + len(" "):
        with suppress(Exception):
            return BPE(pieces, pairs, ignore_merges=ignore_merges)
    usable = [(left, right) for left, right in pairs if {left, right, left + right} <= pieces.keys()]
    return BPE(pieces, usable, ignore_merges=ignore_merges)


def _max_bytes(texts: Iterable[str]) -> int:
    return max(map(len, map(str.encode, texts)), default=0)
