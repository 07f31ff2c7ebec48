"""What a GGUF file says of itself: size, quantization, context, chat template, abilities. Reads headers, never weights.

Knows no manifests: what a model's config and other layers add is in ``stored_model``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeGuard

from gristmill.runtime.errors import ModelError

from ..memory import cache_elements, state_elements

if TYPE_CHECKING:
    from gristmill.runtime.checkpoint import GgufHeader, TensorInfo, Value

__all__ = ["FILE_TYPES", "FactsCache", "ModelFacts", "parameter_size"]

# llama.cpp's numbers for the mixes of formats (``general.file_type``; ``enum llama_ftype`` in llama.h).
FILE_TYPES: Mapping[int, str] = MappingProxyType(
    dict(enumerate(("F32", "F16", "Q4_0", "Q4_1")))
    | dict(enumerate(("Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M"), 7))
    | dict(enumerate(("Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S"), 16))
    | dict(enumerate(("IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16"), 25))
    | dict(enumerate(("TQ1_0", "TQ2_0", "MXFP4_MOE", "NVFP4", "Q1_0"), 36))
)


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """Facts of one GGUF file. Counts are 0 and texts None where the file does not say.

    ``capabilities`` are those the file alone shows, in Ollama's order. ``cache_elements`` are the numbers in keys and
    values of one token, ``state_elements`` those in the states of one sequence. The header is read again when needed.
    """

    architecture: str
    parameter_count: int
    quantization_level: str
    context_length: int
    embedding_length: int
    chat_template: str | None
    capabilities: tuple[str, ...]
    weight_bytes: int
    cache_elements: int
    state_elements: int
    header: Callable[[], GgufHeader]

    @property
    def family(self) -> str:
        return self.architecture

    @property
    def families(self) -> tuple[str, ...]:
        return (self.architecture,) if self.architecture else ()

    @property
    def parameter_size(self) -> str:
        """The count for people: ``7.2B``, ``134.52M``."""
        return parameter_size(self.parameter_count)

    @property
    def metadata(self) -> Mapping[str, Value]:
        """All key-value pairs of the file."""
        return self.header().metadata

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """The tensor table, in the file's order."""
        return self.header().tensors

    @cached_property
    def control_tokens(self) -> frozenset[str]:
        """Spellings of the tokens that only a template may write; none for a vocabulary that cannot be read."""
        from gristmill.runtime.tokenizer import control_tokens

        try:
            return frozenset(control_tokens(self.metadata))
        except ModelError:
            return frozenset()  # the runner refuses to load it, and says why

    @cached_property
    def bos_token(self) -> str | None:
        """Spelling of the token that begins a text."""
        return self._token("tokenizer.ggml.bos_token_id")

    @cached_property
    def eos_token(self) -> str | None:
        """Spelling of the token that ends a text."""
        return self._token("tokenizer.ggml.eos_token_id")

    def _token(self, key: str) -> str | None:
        metadata = self.metadata
        tokens, token_id = metadata.get("tokenizer.ggml.tokens"), metadata.get(key)
        if not _is_list(tokens) or not isinstance(token_id, int) or not 0 <= token_id < len(tokens):
            return None
        return str(tokens[token_id])


class FactsCache:
    """Facts by blob file. A blob never changes, so what was read once stays true; whole headers are large and few stay.

    May be used from several threads. Both methods raise ModelError for a file that is no valid GGUF.
    """

    def __init__(self, *, n_facts: int = 1024, n_headers: int = 2):
        self.header = lru_cache(n_headers)(_read_header)
        self.facts = lru_cache(n_facts)(self._facts)

    def _facts(self, path: Path) -> ModelFacts:
        header = self.header(path)
        metadata = header.metadata
        architecture = _text(metadata, "general.architecture") or ""
        template = _text(metadata, "tokenizer.chat_template")
        count = _count(metadata, "general.parameter_count")
        file_type = metadata.get("general.file_type")
        return ModelFacts(
            architecture=architecture,
            parameter_count=count or sum(math.prod(info.shape) for info in header.tensors.values()),
            quantization_level=FILE_TYPES.get(file_type, "unknown") if isinstance(file_type, int) else "unknown",
            context_length=_count(metadata, f"{architecture}.context_length"),
            embedding_length=_count(metadata, f"{architecture}.embedding_length"),
            chat_template=template,
            capabilities=tuple(_capabilities(metadata, architecture, template)),
            weight_bytes=sum(info.n_bytes for info in header.tensors.values()),
            cache_elements=cache_elements(header),
            state_elements=state_elements(header),
            header=lambda: self.header(path),
        )


def _read_header(path: Path) -> GgufHeader:
    from gristmill.runtime.checkpoint import read_gguf_header

    return read_gguf_header(path)


def _capabilities(metadata: Mapping[str, Value], architecture: str, template: str | None) -> list[str]:
    found = _template_abilities(template) if template else []
    found.append("embedding" if f"{architecture}.pooling_type" in metadata else "completion")
    found += [kind for kind in ("vision", "audio") if _count(metadata, f"{architecture}.{kind}.block_count")]
    if architecture in ("gptoss", "gpt-oss") and "thinking" not in found:
        found.append("thinking")
    return found


def _template_abilities(template: str) -> list[str]:
    from gristmill.runtime.chat.preference import jinja_abilities

    abilities = jinja_abilities(template)
    return [name for name in ("tools", "thinking") if name in abilities]


def _text(metadata: Mapping[str, Value], key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) else None


def _count(metadata: Mapping[str, Value], key: str) -> int:
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def parameter_size(count: int) -> str:
    """``7B``, ``7.2B``, ``125M``, ``133.70M``, ``512K`` or the number: Ollama's way to write counts."""
    for unit, letter, digits in ((10**9, "B", 1), (10**6, "M", 2)):
        if count >= unit:
            return f"{count // unit}{letter}" if count % unit == 0 else f"{count / unit:.{digits}f}{letter}"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)
