"""The model parameters that a Modelfile, a create request or a params layer may set, and their types.

Knows nothing of what they do. Names and types: Ollama's options table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from gristmill.runtime.errors import InvalidRequest, cut

__all__ = ["PARAMETERS", "RETIRED", "check_parameters", "parse_parameter"]

Kind = Literal["integer", "float32", "boolean", "array"]
Scalar = int | float | bool | str

PARAMETERS: Mapping[str, Kind] = MappingProxyType(
    {
        "num_ctx": "integer",
        "num_batch": "integer",
        "num_gpu": "integer",
        "main_gpu": "integer",
        "use_mmap": "boolean",
        "num_thread": "integer",
        "draft_num_predict": "integer",
        "num_keep": "integer",
        "seed": "integer",
        "num_predict": "integer",
        "top_k": "integer",
        "top_p": "float32",
        "min_p": "float32",
        "typical_p": "float32",
        "repeat_last_n": "integer",
        "temperature": "float32",
        "repeat_penalty": "float32",
        "presence_penalty": "float32",
        "frequency_penalty": "float32",
        "stop": "array",
    }
)
# Options of earlier times: old Modelfiles and clients still set them, and nothing happens.
RETIRED = frozenset(
    (
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
        "tfs_z",
        "numa",
    )
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_MAX_STOPS, _MAX_STOP_BYTES = 256, 8 << 10


def parse_parameter(name: str, text: str) -> Scalar:
    """The value that ``text`` spells: for ``stop`` one string. Raises InvalidRequest with Ollama's texts."""
    match PARAMETERS.get(name):
        case "integer":
            if _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
                return int(text)
            raise InvalidRequest(f"invalid int value [{_shown(text)}]")
        case "float32":
            if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
                return float(text)
            raise InvalidRequest(f"invalid float value [{_shown(text)}]")
        case "boolean":
            if text in _BOOLS:
                return _BOOLS[text]
            raise InvalidRequest(f"invalid bool value [{_shown(text)}]")
        case "array":
            return text
        case _:
            raise InvalidRequest(f"unknown parameter '{_shown(name)}'")


def check_parameters(values: Mapping[str, object]) -> dict[str, object]:
    """JSON values with their types made right: numbers lose a fraction where integers are due, one ``stop`` becomes
    a list; nulls and retired names are left out. Raises InvalidRequest naming the parameter.
    """
    checked: dict[str, object] = {}
    for name, value in values.items():
        if value is None or name in RETIRED:
            continue
        kind = PARAMETERS.get(name)
        if kind is None:
            raise InvalidRequest(f"unknown parameter '{_shown(name)}'")
        checked[name] = _checked(name, kind, value)
    return checked


def _checked(name: str, kind: Kind, value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind == "array":
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list):
            raise InvalidRequest(f'option "{name}" must be of type array')
        if not all(isinstance(stop, str) for stop in stops):
            raise InvalidRequest(f'option "{name}" must be of an array of strings')
        if len(stops) > _MAX_STOPS or any(len(stop.encode("utf-8", "replace")) > _MAX_STOP_BYTES for stop in stops):
            raise InvalidRequest(f'option "{name}" has more than {_MAX_STOPS} strings, or one of more than 8 KiB')
        return stops
    if not (isinstance(value, bool) if kind == "boolean" else is_number):
        raise InvalidRequest(f'option "{name}" must be of type {kind}')
    if kind == "integer":
        assert isinstance(value, int | float)
        if not -(2**63) <= value < 2**63:
            raise InvalidRequest(f'option "{name}" is out of range')
        return int(value)
    return value


def _shown(text: str) -> str:
    return cut(text)[1:-1]
