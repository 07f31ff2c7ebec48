"""WordPiece (``bert``) on the tokenizers library: words, cut into the longest pieces from the left.

GGUF stores the start of a word with a leading U+2581 and continuations bare; ``[CLS]`` and the like stay as they are.
"""

from __future__ import annotations

from typing import Any

from .base import Tokenizer
from .merging import SPACE
from .vocabulary import Vocabulary

__all__ = ["WordPieceTokenizer"]

_CONTINUES = "##"


class WordPieceTokenizer(Tokenizer):
    """A word with any part that is not in the vocabulary becomes ``unk_id``, which there must be."""

    _puts_space = True

    def __init__(self, vocabulary: Vocabulary, pieces: dict[str, int], *, lowercase: bool, strip_accents: bool):
        super().__init__(vocabulary)
        self._library = _build(vocabulary, pieces, lowercase, strip_accents)

    def _encode_text(self, text: str, at_start: bool) -> list[int]:
        ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return ids

    def _piece_bytes(self, piece: str) -> bytes:
        return piece.replace(SPACE, " ").encode()


def _build(vocabulary: Vocabulary, pieces: dict[str, int], lowercase: bool, strip_accents: bool) -> Any:
    from tokenizers import Tokenizer as Library
    from tokenizers import models, normalizers, pre_tokenizers

    assert vocabulary.unk_id is not None
    unknown = vocabulary.tokens[vocabulary.unk_id]
    words = {_spelling(text): token_id for text, token_id in pieces.items()}
    model = models.WordPiece(words | {unknown: vocabulary.unk_id}, unk_token=unknown)
    library = Library(model)
    library.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return library


def _spelling(text: str) -> str:
    """As the library wants it: continuations are marked, starts of words are not."""
    if text.startswith(SPACE):
        return text[len(SPACE) :]
    is_whole = text.startswith("[") and text.endswith("]")
    return text if is_whole else _CONTINUES + text
