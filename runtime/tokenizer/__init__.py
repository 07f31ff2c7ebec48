"""Tokenizers: text to token ids and back, as the model's own file describes it.

Torch-free; the tokenizers library is imported when a tokenizer that uses it is built.
"""

from __future__ import annotations

import os

from .base import Tokenizer
from .build import control_tokens, tokenizer_from_metadata
from .detokenize import Detokenizer
from .guard import GUARD

__all__ = ["GUARD", "Detokenizer", "Tokenizer", "control_tokens", "open_tokenizer", "tokenizer_from_metadata"]


def open_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a GGUF file, which may have no tensors, or of a safetensors folder.

    Raises InvalidFile for malformed files, UnsupportedModel for what is not supported.
    """
    from ..checkpoint import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        return tokenizer_from_metadata(checkpoint.metadata)
