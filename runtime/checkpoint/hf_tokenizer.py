"""tokenizer.json and tokenizer_config.json of a Hugging Face model as GGUF's ``tokenizer.`` keys.

Two kinds are known: byte-level BPE (GGUF's "gpt2"), and BPE over characters with byte fallback, which is how
SentencePiece vocabularies are saved there (GGUF's "llama").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedModel, cut
from .base import Value
from .hf_pre_tokenizer import pre_tokenizer_name
from .limits import Limits
from .safetensors_header import malformed
from .strict_json import Fields

__all__ = ["tokenizer_metadata"]

# GGUF's token types
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
# Some of these are not flagged as special by their makers, but no text should show or spell them.
_LOOKS_SPECIAL = re.compile(r"<\|[^|]+\|>|<｜[^｜]+｜>|<unused\d+>")
_UNREACHABLE = -1e9  # the score of a token that no merge makes: any other pair goes first
_MAX_PADDING = 65_536
_SPACE = "\u2581"


def tokenizer_metadata(tokenizer: Fields, n_vocab: int, limits: Limits) -> dict[str, Value]:
    """Vocabulary, merges or scores, and cutting rules.

    ``n_vocab`` is the model's count of tokens: a shorter vocabulary is padded.
    Raises InvalidFile for bad values, UnsupportedModel for an unknown kind of tokenizer.
    """
    model = tokenizer.fields("model")
    if model.text("type", "BPE") != "BPE":
        raise UnsupportedModel(f"tokenizer.json: model type {cut(model.text('type'))} is not supported; supported: BPE")
    vocabulary = _Vocabulary(model, n_vocab, limits)
    vocabulary.add(tokenizer.items("added_tokens"))
    merges = [_merge(model, merge) for merge in model.items("merges")]
    values: dict[str, Value] = {}
    if model.flag("byte_fallback", False):
        vocabulary.mark_sentencepiece(model)
        values |= {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.add_space_prefix": _adds_space_prefix(tokenizer),
            "tokenizer.ggml.scores": _scores(vocabulary.ids, merges, n_vocab),
        }
    else:
        _check_byte_level_normalizer(tokenizer)
        values |= {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": pre_tokenizer_name(tokenizer.fields("pre_tokenizer")),
            "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        }
    return values | {"tokenizer.ggml.tokens": vocabulary.padded(), "tokenizer.ggml.token_type": vocabulary.types}


class _Vocabulary:
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


def _merge(model: Fields, merge: Any) -> tuple[str, str]:
    """The two halves of a merge: "a b" in older files, ["a", "b"] in newer ones."""
    halves = merge.split(" ") if isinstance(merge, str) else merge
    match halves:
        case [str(left), str(right)]:
            return left, right
        case _:
            raise model.wrong("merges", f"has {cut(merge)}, not a pair of tokens")


def _scores(ids: Mapping[str, int], merges: list[tuple[str, str]], n_vocab: int) -> list[float]:
    """SentencePiece joins the pair whose joint token has the highest score; BPE the pair of the first merge."""
    scores = [_UNREACHABLE] * n_vocab
    for rank, (left, right) in enumerate(merges):
        token_id = ids.get(left + right)
        if token_id is not None and scores[token_id] == _UNREACHABLE:
            scores[token_id] = -float(rank)
    return scores


def _adds_space_prefix(tokenizer: Fields) -> bool:
    """Whether text gets a space in front: said by a normalizer or by a pre-tokenizer, depending on the file's age."""
    for step in (*_steps(tokenizer, "normalizer", "normalizers"), *_steps(tokenizer, "pre_tokenizer", "pretokenizers")):
        match step:
            case {"type": "Prepend"}:
                return True
            case {"type": "Metaspace", "prepend_scheme": str(scheme)}:
                return scheme != "never"
            case {"type": "Metaspace", **rest}:
                return bool(rest.get("add_prefix_space", True))
            case {"type": "Replace", "pattern": {"String": " "}} | {"type": "Split", "pattern": {"String": " "}}:
                continue
            case _:
                raise UnsupportedModel(f"tokenizer.json: step {cut(step)} is not supported")
    return False


def _check_byte_level_normalizer(tokenizer: Fields) -> None:
    for step in _steps(tokenizer, "normalizer", "normalizers"):
        # GGUF cannot say NFC; files of such models are made without it.
        if step != {"type": "NFC"}:
            raise UnsupportedModel(f"tokenizer.json: normalizer {cut(step)} is not supported")


def _steps(tokenizer: Fields, key: str, members: str) -> list[Any]:
    if not tokenizer.has(key):
        return []
    step = tokenizer.fields(key)
    return step.items(members) if step.text("type", "") == "Sequence" else [step.data]
