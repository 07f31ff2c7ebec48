"""llguidance's tokenizer, made from ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llguidance import LLTokenizer, TokenizerWrapper

from ..tokenizer.kinds import TokenKind

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer


class _Adapter:
    """What llguidance asks of a tokenizer. It calls it where the grammar leaves only one text."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self.tokens = tokenizer.all_bytes()
        hidden = tokenizer.vocabulary.ids_of(TokenKind.CONTROL, TokenKind.UNKNOWN)
        self.special_token_ids = sorted({*hidden, *tokenizer.control_tokens.values()})
        self.bos_token_id = tokenizer.bos_id
        # A token beyond the vocabulary where nothing ends a generation: then only a complete grammar does.
        self.eos_token_ids = sorted(tokenizer.eog_ids) or [tokenizer.n_vocab]
        self.eos_token_id = self.eos_token_ids[0]
        if not tokenizer.eog_ids:
            self.tokens.append(b"")
            self.special_token_ids.append(tokenizer.n_vocab)
        self._by_bytes = {data: token_id for token_id, data in enumerate(self.tokens) if len(data) == 1}

    def __call__(self, data: bytes) -> list[int]:
        """Ids whose bytes are exactly ``data``, as the model has learned to write it, else byte by byte.

        An algorithm that changes text (lower case) or lacks a character would not give these bytes.
        """
        ids = self._tokenizer.encode_inside(data.decode("utf-8", errors="replace"))
        if b"".join(self.tokens[token_id] for token_id in ids) == data:
            return ids
        return [self._by_bytes[data[i : i + 1]] for i in range(len(data)) if data[i : i + 1] in self._by_bytes]


def native_tokenizer(tokenizer: Tokenizer) -> LLTokenizer:
    """Takes 0.15 s for 49,000 tokens, 1.2 s for 262,000. Control tokens are never allowed, but those that end."""
    adapter = _Adapter(tokenizer)
    return LLTokenizer(TokenizerWrapper(adapter), n_vocab=len(adapter.tokens), eos_token=adapter.eos_token_ids)


def byte_tokenizer() -> LLTokenizer:
    """A vocabulary of the 256 bytes and an end: grammars can be tried without a model."""
    adapter = _Bytes()
    return LLTokenizer(TokenizerWrapper(adapter), n_vocab=len(adapter.tokens), eos_token=adapter.eos_token_id)


class _Bytes:
    def __init__(self) -> None:
        self.tokens = [*(bytes([byte]) for byte in range(256)), b"<end>"]
        self.eos_token_id = 256
        self.special_token_ids, self.bos_token_id = [256], None

    def __call__(self, data: bytes) -> list[int]:
        return list(data)
