"""What a checkpoint is to the rest of the runtime: metadata and tensors under GGUF's names, wherever they came from.

Knows no file format, and no model architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from gristmill.kernels.formats import Format

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import torch

__all__ = ["Checkpoint", "TensorInfo", "Value"]

Value: TypeAlias = str | int | float | bool | Sequence[str] | Sequence[int] | Sequence[float] | Sequence[bool]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of a tensor table. ``shape`` is in torch's order: a weight matrix is (n_out, n_in).

    ``offset`` is where its ``n_bytes`` begin in their file, in bytes; it is 0 for a tensor that only comes into
    being when it is read (see ``transforms``).
    """

    name: str
    format: Format
    shape: tuple[int, ...]
    offset: int
    n_bytes: int

    @property
    def byte_shape(self) -> tuple[int, ...]:
        """Shape of the encoded bytes: rows stay, the last dimension counts bytes."""
        return (*self.shape[:-1], self.format.row_bytes(self.shape[-1]))


class Checkpoint(ABC):
    """An open model file or folder. Its tensors stay valid after ``close``: the mapping goes with the last one."""

    kind: str
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]
    # GGUF's type numbers of metadata that is a number or a bool, where a file says so: see gguf_values.
    scalar_types: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def raw(self, name: str) -> memoryview:
        """The encoded bytes, read-only; those of the file itself where they are stored as they are used.

        Raises KeyError for a name that is not in ``tensors``.
        """

    @abstractmethod
    def tensor(self, name: str) -> torch.Tensor:
        """The encoded bytes, uint8 of shape ``byte_shape``, mostly over the mapped file: they must not be written.

        Raises KeyError for a name that is not in ``tensors``.
        """

    @abstractmethod
    def release(self, name: str) -> None:
        """The tensor's bytes are not needed in memory any more; reading them again costs time."""

    @abstractmethod
    def close(self) -> None:
        """Let the files go. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
