"""llguidance's tokenizer, made from ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llguidance import LLTokenizer, TokenizerWrapper

from ..tokenizer.kinds import TokenKind

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer


class _Adapter:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokens: list[bytes], special: set[int], ends: list[int], bos_id: int | None):
        self.tokens, self.special_token_ids = tokens, sorted(special)
        self.eos_token_id, self.bos_token_id = ends[0], bos_id
        self.eos_token_ids = ends

    def __call__(self, data: bytes) -> list[int]:
        return []  # asked only for texts that a grammar forces, and that is switched off


def native_tokenizer(tokenizer: Tokenizer) -> LLTokenizer:
    """Takes 0.15 s for 49,000 tokens, 1.2 s for 262,000. Control tokens are never allowed, but those that end."""
    tokens = tokenizer.all_bytes()
    hidden = tokenizer.vocabulary.ids_of(TokenKind.CONTROL, TokenKind.UNKNOWN)
    special = {*hidden, *tokenizer.control_tokens.values(), *tokenizer.eog_ids}
    if not tokenizer.eog_ids:  # one beyond the vocabulary stands in: then only a complete grammar ends a generation
        special.add(len(tokens))
        tokens.append(b"<end>")
    ends = sorted(tokenizer.eog_ids) or [len(tokens) - 1]
    return _build(_Adapter(tokens, special, ends, tokenizer.bos_id))


def trial_tokenizer() -> LLTokenizer:
    """A vocabulary to try grammars without a model: an end (id 0), the bytes, and all pairs of ASCII characters.

    Pairs, because a mask looks as many bytes ahead as tokens have.
    """
    singles = [bytes([byte]) for byte in range(256)]
    pairs = [bytes([one, two]) for one in range(32, 127) for two in range(32, 127)]
    return _build(_Adapter([b"<end>", *singles, *pairs], {0}, [0], None))


def _build(adapter: _Adapter) -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(adapter), n_vocab=len(adapter.tokens), eos_token=adapter.eos_token_ids)
