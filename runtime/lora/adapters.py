"""The adapters of one model: loaded while it runs, used by requests, forgotten when nobody has used them for long.

A request's adapters, usually one, are read as one: what they add is added up by setting their matrices side by side,
[B1 B2] [A1; A2]. So each row of a step has one adapter id, and an id stands for files as they were when they were read.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from gristmill.kernels.lora import MAX_ADAPTERS, LoraPair, LoraTable, padded_rank
from gristmill.kernels.ops import Ops
from gristmill.kernels.specs import Norm

from ..errors import OutOfMemory
from .file import EMBEDDING, AdapterBase, Pair, read_adapter
from .rows import AdapterRows

__all__ = ["Adapter", "Adapters", "Additions"]

KEPT_BYTES = 256 << 20  # of adapters that no request uses
_Identity = tuple[str, int, int, int]


@dataclass(eq=False)
class Adapter:
    """``id`` is its place in the tables, taken again after it is forgotten; ``serial`` never is.

    ``n_uses`` are the requests that have it.
    """

    id: int
    serial: int
    key: tuple[_Identity, ...]
    pairs: Mapping[str, LoraPair]
    n_uses: int = 0
    n_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_bytes = sum(pair.n_bytes for pair in self.pairs.values())


class Additions:
    """What adapters add to one weight. ``of_outputs``: it reads the rows of outputs, not of tokens."""

    def __init__(self, adapters: Adapters, name: str, n_in: int, *, of_outputs: bool = False):
        self._adapters, self._name, self._of_outputs = adapters, name, of_outputs
        self.table = LoraTable(n_in)

    @property
    def active(self) -> bool:
        """Whether the present step has adapters, of which some add to this weight."""
        return self._adapters.rows is not None and self._name in self._adapters.touched

    @property
    def _ids(self) -> torch.Tensor:
        rows = self._adapters.rows
        assert rows is not None, "no adapters in this step"
        return rows.outputs if self._of_outputs else rows.tokens

    def add(self, ys: Sequence[torch.Tensor], x: torch.Tensor, norm: Norm | None, others: Sequence[Additions]) -> None:
        """See ``Ops.lora``: to the first of ``ys`` what is of this weight, to the next what is of ``others``."""
        tables = [self.table, *(other.table for other in others)]
        self._adapters.ops.lora(ys, x, tables, self._ids, self._adapters.max_rank, norm)

    def add_experts(self, y: torch.Tensor, x: torch.Tensor, experts: torch.Tensor) -> None:
        """See ``Ops.lora_experts``."""
        self._adapters.ops.lora_experts(y, x, self.table, self._ids, self._adapters.max_rank, experts)

    def add_embedding(self, y: torch.Tensor, ids: torch.Tensor) -> None:
        """See ``Ops.lora_embedding``."""
        self._adapters.ops.lora_embedding(y, ids, self.table, self._ids, self._adapters.max_rank)


class Adapters:
    """``rows`` are those of the step that is being computed, None where it has no adapters.

    ``touched`` are the weights that a loaded adapter has added to, ``max_rank`` their highest padded rank; neither
    shrinks. With ``version``, recorded steps are out of date. ``acquire`` and ``release`` may be called from any
    thread, the rest is for the thread that computes.
    """

    def __init__(self, ops: Ops, architecture: str, *, kept_bytes: int = KEPT_BYTES):
        self.ops, self.architecture = ops, architecture
        self.rows: AdapterRows | None = None
        self.touched: frozenset[str] = frozenset()
        self.max_rank = self.version = 0
        self._kept_bytes = kept_bytes
        self._additions: dict[str, Additions] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._loaded: dict[tuple[_Identity, ...], Adapter] = {}  # the one used longest ago first
        self._free = list(reversed(range(MAX_ADAPTERS)))
        self._n_read = 0
        self._reading, self._changing = threading.Lock(), threading.Lock()

    @property
    def loaded(self) -> Sequence[Adapter]:
        return list(self._loaded.values())

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the weights that adapters can add to, by name."""
        return self._shapes

    def additions(self, name: str, shape: tuple[int, ...], *, of_outputs: bool = False) -> Additions:
        """Those of a weight (..., out, in), while the model is built. An embedding is (n_vocab, hidden)."""
        n_in = shape[0] if name == EMBEDDING else shape[-1]
        self._shapes[name] = shape
        return self._additions.setdefault(name, Additions(self, name, n_in, of_outputs=of_outputs))

    def none(self, name: str, shape: tuple[int, ...], *, of_outputs: bool = False) -> Additions:
        """Those of a weight that adapters do not add to."""
        return Additions(self, "", shape[-1], of_outputs=of_outputs)

    @contextlib.contextmanager
    def step(self, rows: AdapterRows | None) -> Iterator[None]:
        """While a step with these rows is computed, or recorded."""
        self.rows = rows
        try:
            yield
        finally:
            self.rows = None

    def acquire(self, paths: Sequence[str | os.PathLike[str]]) -> Adapter:
        """The adapters of these files as one, read unless they are loaded. It stays until it is released.

        Raises UnsupportedModel where they are another model's, InvalidFile, OutOfMemory where too many are in use.
        """
        with self._reading:  # one by one, and apart from ``release``: a step never waits for a file
            key = tuple(_identity(os.fspath(path)) for path in paths)
            with self._changing:
                known = self._loaded.get(key)
                if known is not None:
                    return self._used(known)
            pairs = self._read([identity[0] for identity in key])
            with self._changing:
                return self._used(self._install(key, pairs))

    def release(self, adapter: Adapter) -> None:
        """One use less. It stays loaded while there is room."""
        with self._changing:
            assert adapter.n_uses > 0, "an adapter is released twice"
            adapter.n_uses -= 1
            while sum(idle.n_bytes for idle in self._idle()) > self._kept_bytes:
                self._forget(self._idle()[0])

    def _used(self, adapter: Adapter) -> Adapter:
        adapter.n_uses += 1
        self._loaded[adapter.key] = self._loaded.pop(adapter.key)
        return adapter

    def _idle(self) -> list[Adapter]:
        return [adapter for adapter in self._loaded.values() if not adapter.n_uses]

    def _read(self, paths: Sequence[str]) -> dict[str, LoraPair]:
        base = AdapterBase(self.architecture, self._shapes)
        read = [read_adapter(path, base, self.ops.device) for path in paths]
        names = dict.fromkeys(name for pairs in read for name in pairs)
        return {name: self._side_by_side(name, [pairs[name] for pairs in read if name in pairs]) for name in names}

    def _side_by_side(self, name: str, pairs: Sequence[Pair]) -> LoraPair:
        is_embedding = name == EMBEDDING  # whose A has the ranks last
        a = torch.cat([a for a, _ in pairs], dim=-1 if is_embedding else -2)
        return self.ops.lora_pair(a, torch.cat([b for _, b in pairs], dim=-1), embedding=is_embedding)

    def _install(self, key: tuple[_Identity, ...], pairs: Mapping[str, LoraPair]) -> Adapter:
        if not self._free:
            if not self._idle():
                raise OutOfMemory(f"no room for another adapter: {MAX_ADAPTERS} are in use; try again later")
            self._forget(self._idle()[0])
        self._n_read += 1
        adapter = Adapter(self._free.pop(), self._n_read, key, pairs)
        for name, pair in pairs.items():
            self._additions[name].table.put(adapter.id, pair)
        touched = self.touched | pairs.keys()
        max_rank = max([self.max_rank, *(padded_rank(pair.rank) for pair in pairs.values())])
        if (touched, max_rank) != (self.touched, self.max_rank):
            self.touched, self.max_rank = touched, max_rank
            self.version += 1  # last: a step that is recorded meanwhile has the old one, and is recorded again
        self._loaded[key] = adapter
        return adapter

    def _forget(self, adapter: Adapter) -> None:
        del self._loaded[adapter.key]
        for name in adapter.pairs:
            self._additions[name].table.drop(adapter.id)
        self._free.append(adapter.id)


def add_all(all_additions: Sequence[Additions], ys: Sequence[torch.Tensor], x: torch.Tensor, norm: Norm | None) -> None:
    """To each of ``ys``, products of one x, what the active ones of ``all_additions`` add."""
    active = [(additions, y) for additions, y in zip(all_additions, ys, strict=True) if additions.active]
    if active:
        (first, *others), kept = zip(*active, strict=True)
        first.add(kept, x, norm, others)


def _identity(path: str) -> _Identity:
    """A file that has changed is another adapter."""
    try:
        stat = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, stat.st_ino, stat.st_size, stat.st_mtime_ns
