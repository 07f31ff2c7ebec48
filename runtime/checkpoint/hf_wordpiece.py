"""WordPiece tokenizers of Hugging Face folders (GGUF's "bert"): tokenizer.json, or the older vocab.txt.

GGUF marks the start of a word with U+2581 and leaves continuations bare; the others mark continuations with "##".
"""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedModel, cut
from .base import Value
from .hf_vocabulary import HfVocabulary
from .limits import Limits
from .safetensors_header import malformed
from .strict_json import Fields

__all__ = ["tokenizer_of_word_list", "wordpiece_metadata"]

_CONTINUES, _STARTS = "##", "\u2581"
_LONGEST_WORD = 100  # characters; a longer word is unknown
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def wordpiece_metadata(tokenizer: Fields, n_vocab: int, limits: Limits) -> dict[str, Value]:
    """The ``tokenizer.ggml.`` keys. Raises as ``tokenizer_metadata`` does."""
    model = tokenizer.fields("model")
    _require(model, "continuing_subword_prefix", _CONTINUES)
    _require(model, "max_input_chars_per_word", _LONGEST_WORD)
    _require(tokenizer.fields("pre_tokenizer"), "type", "BertPreTokenizer")
    normalizer = tokenizer.fields("normalizer")
    _require(normalizer, "type", "BertNormalizer")
    _require(normalizer, "clean_text", True)
    _require(normalizer, "handle_chinese_chars", True)
    vocabulary = HfVocabulary(model, n_vocab, limits)
    vocabulary.add(tokenizer.items("added_tokens"))
    vocabulary.respell(_gguf_spelling)
    lowercase = normalizer.flag("lowercase", True)
    values: dict[str, Value] = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.normalizer.lowercase": lowercase,
        "tokenizer.ggml.normalizer.strip_accents": normalizer.flag("strip_accents", lowercase),
        "tokenizer.ggml.tokens": vocabulary.padded(),
        "tokenizer.ggml.token_type": vocabulary.types,
    }
    unknown = model.text("unk_token", "[UNK]")
    # GGUF's own spelling of the second key.
    roles = {"cls_token_id": "[CLS]", "seperator_token_id": "[SEP]", "unknown_token_id": unknown}
    for key, text in roles.items():
        if text not in vocabulary.ids:
            raise model.wrong("vocab", f"has no token {text}")
        values[f"tokenizer.ggml.{key}"] = vocabulary.ids[text]
    return values


def tokenizer_of_word_list(words: str, settings: Fields) -> Fields:
    """What tokenizer.json would be for a vocab.txt: one piece a line, its id the line's number."""
    vocabulary = {word: token_id for token_id, word in enumerate(words.split("\n")) if word}
    specials = [{"content": text, "id": vocabulary[text], "special": True} for text in _SPECIAL if text in vocabulary]
    lowercase = settings.flag("do_lower_case", True)
    normalizer: dict[str, Any] = {"type": "BertNormalizer", "lowercase": lowercase}
    normalizer["strip_accents"] = settings.flag("strip_accents", lowercase)
    normalizer["handle_chinese_chars"] = settings.flag("tokenize_chinese_chars", True)
    data = {
        "model": {"type": "WordPiece", "vocab": vocabulary},
        "added_tokens": specials,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing"},
    }
    return Fields(data, "vocab.txt", malformed)


def _gguf_spelling(text: str) -> str:
    if text.startswith(_CONTINUES):
        return text[len(_CONTINUES) :]
    return text if text.startswith("[") and text.endswith("]") else _STARTS + text


def _require(fields: Fields, key: str, value: str | int | bool) -> None:
    if fields.has(key) and fields.data[key] != value:
        found = cut(fields.data[key])
        raise UnsupportedModel(f'tokenizer.json: "{key}" {found} is not supported; supported: {cut(value)}')
