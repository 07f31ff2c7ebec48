"""A model in several GGUF files, ``<prefix>-00001-of-0000N.gguf`` and so on, read as one.

The first file has all metadata, each has a part of the tensors (tools/gguf-split of llama.cpp).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import cut
from .base import Checkpoint, TensorInfo, Value
from .gguf import GgufCheckpoint
from .gguf_metadata import malformed
from .limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    import torch

__all__ = ["SPLIT_NAME", "SplitCheckpoint", "part_names"]

SPLIT_NAME = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII | re.DOTALL)
_KEYS = ("split.no", "split.count", "split.tensors.count")


def part_names(name: str) -> list[str]:
    """The file names of all parts, if ``name`` is that of one part of several; else none."""
    found = SPLIT_NAME.fullmatch(name)
    count = int(found["count"]) if found else 0
    if found is None or not count > 1 or not 1 <= int(found["number"]) <= count:
        return []
    return [f"{found['prefix']}-{i:05}-of-{found['count']}.gguf" for i in range(1, count + 1)]


class SplitCheckpoint(Checkpoint):
    """``path`` is any part; the others lie beside it. Metadata is the first one's, without what says it is split.

    Raises InvalidFile where parts are missing, out of order, of different models or have a tensor twice.
    """

    kind = "gguf"

    def __init__(self, path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS):
        folder, names = Path(path).parent, part_names(Path(path).name)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise malformed("parts", f"{len(missing)} of {len(names)} are missing: {', '.join(map(cut, missing[:3]))}")
        with ExitStack() as stack:
            parts = [stack.enter_context(GgufCheckpoint(folder / name, limits=limits, split=True)) for name in names]
            _check(parts, len(names))
            self._homes = {name: part for part in parts for name in part.tensors}
            stack.pop_all()
        self._parts = parts
        first = parts[0]
        self.metadata: Mapping[str, Value] = MappingProxyType(
            {key: value for key, value in first.metadata.items() if key not in _KEYS}
        )
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            {name: part.tensors[name] for name, part in self._homes.items()}
        )
        self.scalar_types = first.scalar_types

    def raw(self, name: str) -> memoryview:
        return self._homes[name].raw(name)

    def tensor(self, name: str) -> torch.Tensor:
        return self._homes[name].tensor(name)

    def release(self, name: str) -> None:
        self._homes[name].release(name)

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _check(parts: Sequence[GgufCheckpoint], n_parts: int) -> None:
    architecture = parts[0].metadata.get("general.architecture")
    seen: set[str] = set()
    for i, part in enumerate(parts):
        if part.metadata.get("split.count") != n_parts:
            raise malformed("parts", f"part {i + 1} says it is one of {cut(part.metadata.get('split.count'))}")
        if part.metadata.get("split.no") != i:
            raise malformed("parts", f"part {i + 1} says its number is {cut(part.metadata.get('split.no'))}, not {i}")
        if part.metadata.get("general.architecture", architecture) != architecture:
            raise malformed("parts", f"part {i + 1} is of another model than part 1")
        twice = seen & part.tensors.keys()
        if twice:
            raise malformed("parts", f"tensor {cut(min(twice))} is in two of them")
        seen |= part.tensors.keys()
    n_tensors = parts[0].metadata.get("split.tensors.count", len(seen))
    if n_tensors != len(seen):
        raise malformed("parts", f"they hold {len(seen)} tensors, not {cut(n_tensors)}")
