"""Checkpoints: weights and metadata, from a GGUF file or from a folder of safetensors, through one interface.

Nothing here imports torch until a tensor is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .base import Checkpoint, TensorInfo, Value
from .gguf import GgufCheckpoint, GgufHeader, read_gguf_header
from .limits import DEFAULT_LIMITS, Limits
from .split import SplitCheckpoint, part_names

__all__ = [
    "Checkpoint",
    "GgufHeader",
    "Limits",
    "TensorInfo",
    "Value",
    "open_checkpoint",
    "read_gguf_header",
    "read_metadata",
]


def open_checkpoint(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Open a GGUF file, known by its content, or a folder with safetensors files. One part of a model that is split
    into several files, by its name, opens all of them.

    Raises InvalidFile for a malformed file, naming the part; UnsupportedModel for what is not supported.
    """
    if os.path.isdir(path):
        from .safetensors_folder import SafetensorsCheckpoint

        return SafetensorsCheckpoint(path, limits=limits)
    if part_names(os.path.basename(path)):
        return SplitCheckpoint(path, limits=limits)
    return GgufCheckpoint(path, limits=limits)


def read_metadata(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Mapping[str, Value]:
    """Only the metadata of what ``open_checkpoint`` opens: that of a vocabulary-only file or folder, too."""
    if os.path.isdir(path):
        from .safetensors_folder import read_folder_metadata

        return read_folder_metadata(path, limits=limits)
    return read_gguf_header(path, limits=limits).metadata
