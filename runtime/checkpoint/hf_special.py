"""Special tokens and the chat template of a Hugging Face model, from the files around its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Value
from .strict_json import Fields

__all__ = ["chat_template", "special_metadata"]

# GGUF key: key of tokenizer_config.json, whose value is the token's text; the model's config files have it with "_id".
_SPECIAL = {
    "bos_token_id": "bos_token",
    "eos_token_id": "eos_token",
    "unknown_token_id": "unk_token",
    "padding_token_id": "pad_token",
}
# Further tokens that end a turn, in GGUF's order
_END_KEYS = ("eot_token_id", "eom_token_id")


def special_metadata(
    settings: Fields, configs: tuple[Fields, ...], tokenizer: Fields, tokens: Sequence[str]
) -> dict[str, Value]:
    """Ids of special tokens and whether text gets them.

    ``settings`` is tokenizer_config.json; ``configs`` are generation_config.json and config.json, asked in this order
    for what it lacks; ``tokens`` are the texts of the vocabulary. Ids out of the vocabulary are left out.
    """
    ids = {text: token_id for token_id, text in enumerate(tokens)}
    values: dict[str, Value] = {}
    for key, source in _SPECIAL.items():
        token_id = _id_of_text(settings.data.get(source), ids)
        given = [i for config in configs for i in _ids(config.data.get(f"{source}_id"), len(tokens))]
        if token_id is None and given:
            token_id = given[0]
        if token_id is not None:
            values[f"tokenizer.ggml.{key}"] = token_id
    ends = [i for config in configs for i in _ids(config.data.get("eos_token_id"), len(tokens))]
    others = [i for i in dict.fromkeys(ends) if i != values.get("tokenizer.ggml.eos_token_id")]
    values |= {f"tokenizer.ggml.{key}": i for key, i in zip(_END_KEYS, others, strict=False)}
    template = _template_ends(tokenizer.data.get("post_processor"))
    values["tokenizer.ggml.add_bos_token"] = settings.flag("add_bos_token", template[0])
    values["tokenizer.ggml.add_eos_token"] = settings.flag("add_eos_token", template[1])
    return values


def chat_template(settings: Fields, file: str | None) -> str | None:
    """The template: of its own file if there is one, else the default one of tokenizer_config.json."""
    given = settings.data.get("chat_template")
    if file is not None:
        return file
    if isinstance(given, list):
        given = next((t.get("template") for t in given if isinstance(t, dict) and t.get("name") == "default"), None)
    if given is not None and not isinstance(given, str):
        raise settings.wrong("chat_template", "is not a text")
    return given


def _id_of_text(token: Any, ids: Mapping[str, int]) -> int | None:
    text = token.get("content") if isinstance(token, dict) else token
    return ids.get(text) if isinstance(text, str) else None


def _ids(value: Any, n_vocab: int) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [i for i in values if type(i) is int and 0 <= i < n_vocab]


def _template_ends(post_processor: Any) -> tuple[bool, bool]:
    """Whether the post-processor puts special tokens before and behind a text."""
    match post_processor:
        case {"type": "Sequence", "processors": [*steps]}:
            ends = [_template_ends(step) for step in steps]
            return any(first for first, _ in ends), any(last for _, last in ends)
        case {"type": "TemplateProcessing", "single": [*pieces]} if pieces:
            has = [isinstance(piece, dict) and "SpecialToken" in piece for piece in pieces]
            return has[0], has[-1]
        case {"type": "BertProcessing"}:
            return True, True
        case _:
            return False, False
