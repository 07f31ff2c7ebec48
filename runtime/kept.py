"""What the layers of a model keep of a sequence from one step to the next. Knows sizes, not tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class KvShape:
    """Keys and values of one token: ``n_heads`` of each, with ``key_dim`` and ``value_dim`` elements."""

    n_heads: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True)
class Kept:
    """Of one layer: keys and values for each token, tensors of a fixed size (float32) for the sequence, or both.

    ``states``: the shapes of these tensors. A state stands for all tokens so far, so it has no pages.
    """

    kv: KvShape | None = None
    states: tuple[tuple[int, ...], ...] = ()

    @property
    def state_elements(self) -> int:
        return sum(math.prod(shape) for shape in self.states)
