"""Small vocabularies as GGUF metadata, one of each kind, for tests that need to know every token.

Each function takes more keys, named without ``tokenizer.ggml.``; None takes a key away.
"""

from __future__ import annotations

from typing import Any

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def byte_alphabet() -> list[str]:
    """GPT-2's character for each byte, in the order of the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = dict(zip(printable, map(chr, printable), strict=True))
    characters |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


def byte_level(merged: str = "", special: dict[str, int] | None = None, **keys: Any) -> dict[str, Any]:
    """Ids 0-255 are the bytes, then come the results of ``merged`` ("t h|th e"), then ``special`` (text: kind)."""
    merges = merged.split("|") if merged else []
    tokens = [*byte_alphabet(), *(merge.replace(" ", "") for merge in merges), *(special or {})]
    kinds = [NORMAL] * (256 + len(merges)) + list((special or {}).values())
    return metadata({"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "token_type": kinds, "merges": merges}, keys)


def sentencepiece(
    pieces: dict[str, float] | None = None, special: dict[str, int] | None = None, **keys: Any
) -> dict[str, Any]:
    """Ids 0-2 are <unk>, <s>, </s>; 3-258 the bytes; then ``pieces`` (text: score), then ``special`` (text: kind)."""
    pieces, special = pieces or {}, special or {}
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, *special]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(pieces), *special.values()]
    scores = [0.0] * 259 + list(pieces.values()) + [0.0] * len(special)
    return metadata({"model": "llama", "tokens": tokens, "token_type": kinds, "scores": scores}, keys)


def wordpiece(words: str, **keys: Any) -> dict[str, Any]:
    """Ids 0-3 are [PAD], [UNK], [CLS], [SEP]; then ``words`` as GGUF spells them."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words.split()]
    kinds = [CONTROL] * 4 + [NORMAL] * (len(tokens) - 4)
    named = {"unknown_token_id": 1, "bos_token_id": 2, "seperator_token_id": 3, "padding_token_id": 0}
    return metadata({"model": "bert", "tokens": tokens, "token_type": kinds, **named}, keys)


def metadata(keys: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    name = {"general.name": changes.pop("name")} if "name" in changes else {}
    merged = {key: value for key, value in (keys | changes).items() if value is not None}
    return {f"tokenizer.ggml.{key}": value for key, value in merged.items()} | name
