"""Tokenizers in SentencePiece's style: spaces are characters of the vocabulary, what is not in it becomes bytes.

``llama``: neighbours join by the scores of the tokens they make, as in SentencePiece's BPE
(https://github.com/google/sentencepiece, src/bpe_model.cc). ``gemma4``: by the file's list of merges.
"""

from __future__ import annotations

from functools import lru_cache

from .base import Tokenizer
from .merging import SPACE, Priority, boundaries, merge
from .vocabulary import Vocabulary

__all__ = ["SentencePieceTokenizer"]

_MAX_CACHED_CHARS = 32
# Merging takes some 250 bytes for each character of a word. Longer words are no language, and are cut.
_MAX_WORD_CHARS = 1 << 16
_N_CACHED_WORDS = 16_384


class SentencePieceTokenizer(Tokenizer):
    """``pieces``: text -> id of the tokens that ordinary text becomes. ``priority`` decides what joins when."""

    def __init__(self, vocabulary: Vocabulary, pieces: dict[str, int], priority: Priority):
        super().__init__(vocabulary)
        self._puts_space = vocabulary.add_space_prefix
        self._boundaries = boundaries(pieces)
        self._word = _WordEncoder(vocabulary, pieces, priority)
        self._cached_word = lru_cache(_N_CACHED_WORDS)(self._word)

    def _encode_text(self, text: str, at_start: bool) -> list[int]:
        if at_start and self._puts_space:
            text = " " + text
        ids: list[int] = []
        for word in self._boundaries.split(text.replace(" ", SPACE)):
            if len(word) <= _MAX_CACHED_CHARS:
                ids += self._cached_word(word)
                continue
            for begin in range(0, len(word), _MAX_WORD_CHARS):
                ids += self._word(word[begin : begin + _MAX_WORD_CHARS])
        return ids

    def _piece_bytes(self, piece: str) -> bytes:
        return piece.replace(SPACE, " ").encode()


class _WordEncoder:
    """Word -> ids. It knows nothing of the tokenizer, so that no cycle keeps a large vocabulary alive."""

    def __init__(self, vocabulary: Vocabulary, pieces: dict[str, int], priority: Priority):
        self._pieces, self._priority = pieces, priority
        self._byte_ids = {byte: token_id for token_id, byte in vocabulary.byte_tokens.items()}
        self._unknown_ids = [] if vocabulary.unk_id is None else [vocabulary.unk_id]

    def __call__(self, word: str) -> tuple[int, ...]:
        ids: list[int] = []
        for piece in merge(word, self._priority):
            token_id = self._pieces.get(piece)
            ids += self._unknown(piece) if token_id is None else (token_id,)
        return tuple(ids)

    def _unknown(self, char: str) -> list[int]:
        """Bytes if the vocabulary has all that it takes, else the unknown token, if there is one."""
        ids = [self._byte_ids[byte] for byte in char.encode() if byte in self._byte_ids]
        return ids if len(ids) == len(char.encode()) else self._unknown_ids
