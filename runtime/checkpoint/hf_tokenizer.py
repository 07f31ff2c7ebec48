"""tokenizer.json and tokenizer_config.json of a Hugging Face model as GGUF's ``tokenizer.`` keys.

Three kinds are known: byte-level BPE (GGUF's "gpt2"), BPE over characters with byte fallback, which is how
SentencePiece vocabularies are saved there (GGUF's "llama"), and WordPiece (``hf_wordpiece``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedModel, cut
from .base import Value
from .hf_pre_tokenizer import pre_tokenizer_name
from .hf_vocabulary import HfVocabulary
from .hf_wordpiece import wordpiece_metadata
from .limits import Limits
from .strict_json import Fields

__all__ = ["tokenizer_metadata"]

_UNREACHABLE = -1e9  # the score of a token that no merge makes: any other pair goes first


def tokenizer_metadata(tokenizer: Fields, n_vocab: int, limits: Limits) -> dict[str, Value]:
    """Vocabulary, merges or scores, and cutting rules.

    ``n_vocab`` is the model's count of tokens: a shorter vocabulary is padded.
    Raises InvalidFile for bad values, UnsupportedModel for an unknown kind of tokenizer.
    """
    model = tokenizer.fields("model")
    kind = model.text("type", "BPE")
    if kind == "WordPiece":
        return wordpiece_metadata(tokenizer, n_vocab, limits)
    if kind != "BPE":
        raise UnsupportedModel(f"tokenizer.json: model type {cut(kind)} is not supported; supported: BPE, WordPiece")
    vocabulary = HfVocabulary(model, n_vocab, limits)
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
