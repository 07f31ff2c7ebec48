"""How much a model file may ask for. Every size is compared with these, and with the bytes that are really there,
before anything is allocated or looped over."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Upper bounds, inclusive. ``n_`` fields are counts, ``_bytes`` fields are sizes."""

    n_key_values: int = 65_536
    key_bytes: int = 65_535  # the GGUF specification's own bound
    string_bytes: int = 16 * MIB
    n_array_elems: int = 64 * MIB
    n_vocab: int = 4 * MIB
    token_bytes: int = 64 * KIB
    n_tensors: int = 65_536
    n_dims: int = 4
    tensor_name_bytes: int = 63
    alignment: int = 65_536

    safetensors_header_bytes: int = 100_000_000  # that format's own bound
    n_safetensors_entries: int = 1_000_000
    safetensors_entry_bytes: int = 4 * KIB
    config_bytes: int = 16 * MIB
    tokenizer_bytes: int = 256 * MIB
    n_shards: int = 4_096


DEFAULT_LIMITS = Limits()
