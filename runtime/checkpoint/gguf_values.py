"""Metadata values as the bytes of a GGUF file, each with the type that readers of that key insist on.

llama.cpp refuses a key whose type is not the one it expects, and Python's int and float do not say which one that is.
The first of these that knows the key decides:

1. the type that the key had in the file it was read from (``GgufHeader.scalar_types``), where the value still fits;
2. the table ``KEY_TYPES``;
3. the value: bool, string; an int is uint32 if it fits, else int32, uint64, int64; a float is float32. A list is an
   array of strings, bools, float32 if a float is in it, else int32 if all fit, uint32, int64, uint64. A
   ``NumberArray`` keeps its type.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from struct import Struct, pack
from struct import error as struct_error

from ..errors import UnsupportedModel, cut
from .arrays import NumberArray, StringArray
from .base import Value
from .gguf_metadata import SCALARS

__all__ = ["KEY_TYPES", "packed_key_value", "packed_string"]

_BOOL, _STRING, _ARRAY = 7, 8, 9
_UINT16, _UINT32, _INT32, _FLOAT32, _UINT64, _INT64 = 2, 4, 5, 6, 10, 11
_NUMBERS = {code: number for number, code in SCALARS.items()}
_STRUCTS = {number: Struct("<" + code) for number, code in SCALARS.items()}

# Pattern of the whole key, and its type or its elements' type. Sources: llama.cpp, src/llama-model-loader.cpp (what it
# expects of each key), gguf-py/gguf/gguf_writer.py (what converters write), tools/gguf-split (split.*).
KEY_TYPES: tuple[tuple[str, int], ...] = (
    (r"general\.(alignment|file_type|quantization_version)", _UINT32),
    (r"general\.parameter_count", _UINT64),
    (r"general\.(tags|languages|datasets)", _STRING),
    (r"split\.(no|count)", _UINT16),
    (r"split\.tensors\.count", _INT32),
    (r"imatrix\.(chunk_count|chunk_size)", _UINT32),
    (r"imatrix\.datasets", _STRING),
    (r"adapter\.lora\.alpha", _FLOAT32),
    (r"tokenizer\.ggml\.(tokens|merges)", _STRING),
    (r"tokenizer\.ggml\.scores", _FLOAT32),
    (r"tokenizer\.ggml\.token_type", _INT32),
    (r"tokenizer\.ggml\.\w+_token_ids?", _UINT32),
    (r"general\.sampling\.(temp|top_p|min_p|xtc_probability|xtc_threshold|penalty_repeat|mirostat_tau)", _FLOAT32),
    (r"general\.sampling\.(top_k|penalty_last_n|mirostat)", _INT32),
    (r"\w[\w-]*\.rope\.(freq_base\w*|scaling\.(factor|attn_factor|finetuned_factor|yarn_\w+))", _FLOAT32),
    (r"\w[\w-]*\.rope\.scaling\.finetuned", _BOOL),
    (r"\w[\w-]*\.attention\.(\w*epsilon|scale|clamp_kqv|max_alibi_bias|\w*temperature_scale|output_scale)", _FLOAT32),
    (r"\w[\w-]*\.(\w*logit_scale|\w*logit_softcapping|embedding_scale|residual_scale|expert_weights_scale)", _FLOAT32),
    (r"\w[\w-]*\.rope\.dimension_sections", _INT32),
)
_KEY_TYPES = tuple((re.compile(pattern), number) for pattern, number in KEY_TYPES)
# What a number may be, narrowest first, where nothing but its value says so.
_INT_TYPES = (_UINT32, _INT32, _UINT64, _INT64)
_ELEMENT_TYPES = (_INT32, _UINT32, _INT64, _UINT64)


def packed_key_value(key: str, value: Value, scalar_types: Mapping[str, int]) -> bytes:
    """The key, the value's type and the value as they stand in a file. ``scalar_types``: see ``GgufHeader``.

    Raises UnsupportedModel, naming the key, for a value that GGUF cannot hold.
    """
    try:
        return packed_string(key) + _packed_value(key, value, scalar_types.get(key))
    except (struct_error, OverflowError, TypeError, ValueError):
        raise UnsupportedModel(f"key {cut(key)}: GGUF has no type for the value {cut(value)}") from None


def packed_string(text: str | bytes) -> bytes:
    """Its length in bytes as uint64, and the bytes, UTF-8."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return pack("<Q", len(raw)) + raw


def _packed_value(key: str, value: Value, had: int | None) -> bytes:
    if isinstance(value, str):
        return pack("<I", _STRING) + packed_string(value)
    if isinstance(value, Sequence):
        return pack("<I", _ARRAY) + _packed_array(key, value)
    number = _scalar_type(key, value, had)
    return pack("<I", number) + _STRUCTS[number].pack(value)


def _scalar_type(key: str, value: int | float | bool, had: int | None) -> int:
    if isinstance(value, bool):
        return _BOOL
    for number in (had, _of_key(key)):
        if number is not None and _fits(value, number):
            return number
    if isinstance(value, float):
        return _FLOAT32
    return next((number for number in _INT_TYPES if _fits(value, number)), _UINT64)


def _packed_array(key: str, values: Sequence[str] | Sequence[int] | Sequence[float] | Sequence[bool]) -> bytes:
    if isinstance(values, StringArray):
        return pack("<IQ", _STRING, len(values)) + values.packed
    if isinstance(values, NumberArray):
        number = _NUMBERS[values.values.format]
        return pack("<IQ", number, len(values)) + values.packed
    number = _element_type(key, values)
    head = pack("<IQ", number, len(values))
    if number == _STRING:
        return head + b"".join(packed_string(text) for text in values if isinstance(text, str | bytes))
    return head + Struct(f"<{len(values)}{SCALARS[number]}").pack(*values)


def _element_type(key: str, values: Sequence[object]) -> int:
    kinds = {type(value) for value in values}
    if kinds == {str} or kinds == {bool}:
        return _STRING if kinds == {str} else _BOOL
    if not kinds <= {int, float}:
        raise TypeError
    known = _of_key(key)
    if known is not None and (not values or (known != _STRING and all(_fits(value, known) for value in values))):
        return known
    if float in kinds:
        return _FLOAT32
    return next((number for number in _ELEMENT_TYPES if all(_fits(v, number) for v in values)), _UINT64)


def _of_key(key: str) -> int | None:
    return next((number for pattern, number in _KEY_TYPES if pattern.fullmatch(key)), None)


def _fits(value: object, number: int) -> bool:
    """Whether a number can be written as this type. An int may become a float, but a float no int."""
    code = SCALARS.get(number, "?")
    if code == "?" or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, float):
        return code in "fd"
    try:
        _STRUCTS[number].pack(value)
    except (struct_error, OverflowError):
        return False
    return True
