"""Quantizing the weights of a model that is being made."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from gristmill.runtime.convert.jobs import QuantizeJob
from gristmill.runtime.errors import InvalidRequest, cut
from gristmill.runtime.quantize.file_types import FILE_TYPES, find_file_type

from .create_files import Line, convert_to_blob
from .store import Layer, MediaType, Store

__all__ = ["check_file_type", "quantized"]

_FLOATS = ("F32", "F16", "BF16")
_OLLAMA = "F32, F16, Q4_K_S, Q4_K_M, Q8_0"


def check_file_type(text: str) -> str:
    """The name of a mix of formats as files spell it. Raises InvalidRequest."""
    try:
        return find_file_type(text).name
    except InvalidRequest:
        more = ", ".join(name for name in FILE_TYPES if name not in _OLLAMA.split(", "))
        known = f"supported types are {_OLLAMA}; also {more}"
        raise InvalidRequest(f"unsupported quantization type {cut(text.upper(), 40)[1:-1]} - {known}") from None


def quantized(store: Store, layers: Sequence[Layer], kind: str, file_type: str) -> Generator[Line, None, list[Layer]]:
    """``layers``, that of ``kind`` in ``file_type``. Raises InvalidRequest for weights that are quantized already."""
    done = []
    for layer in layers:
        if layer.media_type != kind:
            done.append(layer)
            continue
        had = store.facts(layer.digest).quantization_level
        if had == file_type:
            done.append(layer)
            continue
        if had not in _FLOATS:
            if kind == MediaType.DRAFT:
                raise InvalidRequest(f"draft quantization requires an unquantized draft model, got {had}")
            raise InvalidRequest("quantization is only supported for F16, BF16 and F32 models")
        with store.scratch() as folder:
            job = QuantizeJob(str(store.blob_path(layer.digest)), str(Path(folder) / "model.gguf"), file_type)
            status = f"quantizing {had} model to {file_type}"
            done.append((yield from convert_to_blob(store, folder, job, status, kind)))
        yield {"status": "verifying conversion"}
    return done
