"""From a model file's metadata to a tokenizer: which algorithm, with which defaults where the file is silent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import UnsupportedModel, cut
from .base import Tokenizer
from .byte_level import ByteLevelTokenizer
from .merging import by_rank, by_score
from .metadata import TokenizerKeys
from .pretokenize import find_pre_tokenizer
from .sentencepiece import SentencePieceTokenizer
from .vocabulary import Defaults, read_vocabulary
from .wordpiece import WordPieceTokenizer

__all__ = ["control_tokens", "tokenizer_from_metadata"]

log = logging.getLogger(__name__)

_MAX_MERGES = 1 << 22


def tokenizer_from_metadata(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that GGUF's ``tokenizer.ggml.*`` keys describe.

    Raises UnsupportedModel for an unknown ``model`` or ``pre``, InvalidFile for data that does not fit together.
    """
    keys = TokenizerKeys(metadata)
    model = keys.text("model")
    builders: dict[str, Callable[[TokenizerKeys], Tokenizer]] = {
        "bert": _wordpiece,
        "gemma4": _gemma4,
        "gpt2": _byte_level,
        "llama": _sentencepiece,
    }
    if model not in builders:
        raise UnsupportedModel(
            f'key "tokenizer.ggml.model": {cut(model)} is not supported; supported: {", ".join(builders)}'
        )
    return builders[model](keys)


def control_tokens(metadata: Mapping[str, Any]) -> Mapping[str, int]:
    """``Tokenizer.control_tokens`` without the cost of building a tokenizer. Raises InvalidFile."""
    return read_vocabulary(TokenizerKeys(metadata), Defaults())[0].control_tokens


def _byte_level(keys: TokenizerKeys) -> Tokenizer:
    name = keys.text("pre")
    if not name:
        log.warning('no key "tokenizer.ggml.pre": using "default", the tokens may differ from those in training')
    rule = find_pre_tokenizer(name or "default")
    vocabulary, pieces = read_vocabulary(keys, Defaults(add_bos=rule.add_bos))
    return ByteLevelTokenizer(vocabulary, pieces, _merges(keys), rule)


def _sentencepiece(keys: TokenizerKeys) -> Tokenizer:
    defaults = Defaults(bos_id=1, eos_id=2, unk_id=0, add_bos=True, add_space_prefix=True)
    vocabulary, pieces = read_vocabulary(keys, defaults)
    return SentencePieceTokenizer(vocabulary, pieces, by_score(pieces, keys.numbers_per_token("scores")))


def _gemma4(keys: TokenizerKeys) -> Tokenizer:
    vocabulary, pieces = read_vocabulary(keys, Defaults())
    # Files say otherwise by mistake; the model was trained with it, and llama.cpp adds it regardless.
    vocabulary = replace(vocabulary, add_bos=vocabulary.bos_id is not None)
    return SentencePieceTokenizer(vocabulary, pieces, by_rank(pieces, _merges(keys)))


def _wordpiece(keys: TokenizerKeys) -> Tokenizer:
    cls_id = keys.token_id("cls_token_id", 101)
    sep_id = keys.token_id("seperator_token_id", 102)  # the format's own spelling
    defaults = Defaults(bos_id=cls_id, eos_id=sep_id, unk_id=100, add_bos=True, add_eos=True)
    vocabulary, pieces = read_vocabulary(keys, defaults)
    if vocabulary.unk_id is None:
        raise keys.invalid("unknown_token_id", "there is none")
    lowercase = keys.flag("normalizer.lowercase", True)
    strip_accents = keys.flag("normalizer.strip_accents", lowercase)
    return WordPieceTokenizer(vocabulary, pieces, lowercase=lowercase, strip_accents=strip_accents)


def _merges(keys: TokenizerKeys) -> Sequence[str]:
    merges = keys.strings("merges")
    if len(merges) > _MAX_MERGES:
        raise keys.invalid("merges", f"{len(merges)} are over the limit of {_MAX_MERGES}")
    return merges
