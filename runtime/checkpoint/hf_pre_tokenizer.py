"""How a tokenizer.json cuts text before byte-level BPE, recognised by its steps and named as GGUF names it.

GGUF files do not hold the patterns, only a name for them, so a cut that is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedModel, cut
from .strict_json import Fields

__all__ = ["pre_tokenizer_name"]

_BYTES = "bytes"  # byte-level spelling only
_BYTES_GPT2 = "bytes, cut by GPT-2's pattern"
_SINGLE_DIGITS = "digits one by one"
_DIGITS = "runs of digits"
_PUNCTUATION = "runs of punctuation"

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS_BY_CASE = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
)
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _words_and_numbers(number: str) -> str:
    return rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"


def _cased_words_and_numbers(contractions: str, number: str) -> str:
    words = "|".join(pattern + contractions for pattern in _WORDS_BY_CASE)
    return rf"{words}|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


# Steps: name in "tokenizer.ggml.pre".
_NAMES: Mapping[tuple[str, ...], str] = {
    (_BYTES_GPT2,): "gpt-2",
    (_SINGLE_DIGITS, _BYTES_GPT2): "smollm",
    (_PUNCTUATION, _BYTES_GPT2, _DIGITS, "[0-9][0-9][0-9]"): "falcon",
    (_words_and_numbers(r"\p{N}{1,3}"), _BYTES): "llama-bpe",
    (_words_and_numbers(r"\p{N}"), _BYTES): "qwen2",
    (_cased_words_and_numbers("", r"\p{N}"), _BYTES): "tekken",
    (_cased_words_and_numbers(_CONTRACTIONS + "?", r"\p{N}{1,3}"), _BYTES): "gpt-4o",
}


def pre_tokenizer_name(pre_tokenizer: Fields) -> str:
    """GGUF's name for ``pre_tokenizer`` of a byte-level model. Raises UnsupportedModel for one that has none."""
    is_sequence = pre_tokenizer.text("type", "") == "Sequence"
    steps = pre_tokenizer.items("pretokenizers") if is_sequence else [pre_tokenizer.data]
    signature = tuple(_signature(step) for step in steps)
    if signature not in _NAMES:
        raise UnsupportedModel(f"tokenizer.json: pre_tokenizer {cut(list(signature))} is not supported")
    return _NAMES[signature]


def _signature(step: Any) -> str:
    """One step as a text: its pattern, or one of the names above."""
    match step:
        case {"type": "ByteLevel", "add_prefix_space": False, **rest}:
            return _BYTES_GPT2 if rest.get("use_regex", True) else _BYTES
        case {"type": "Digits", "individual_digits": True}:
            return _SINGLE_DIGITS
        case {"type": "Digits", "individual_digits": False}:
            return _DIGITS
        case {"type": "Punctuation", "behavior": "Contiguous"}:
            return _PUNCTUATION
        # Patterns that match everything cut the same, whether matches are kept apart or what is between them removed.
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return pattern
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Removed", "invert": True}:
            return pattern
        case _:
            return f"unknown step {cut(step)}"
