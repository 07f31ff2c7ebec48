"""Norms of queries and keys (Henry et al., arXiv:2010.04245), as models have them, before they are turned.

heads   RMS over each head, one weight (head_dim,) for all heads      Qwen 3, Gemma 3; last (``heads-last``): Hunyuan
rows    RMS over all heads at once, weight (n_heads * head_dim,)      OLMo 2
plain   RMS over each head, no weights                                Llama 4
each    layer norm over each head, each with a weight of its own      Command R+, StableLM 2
layer   layer norm over all heads at once                             MPT
"""

from __future__ import annotations

import torch

from gristmill.kernels.ops import Ops
from gristmill.kernels.specs import LayerNorm as LayerNormSpec
from gristmill.kernels.specs import Norm

from ..config import DecoderConfig
from ..weights import Weights
from .norm import LayerNorm, RmsNorm


class QkNorm:
    """Does nothing by itself. ``fused`` are norms that the operator which turns q and k applies to each head, before
    or, where they are ``last``, after it."""

    fused: tuple[Norm, Norm] | None = None
    last = False

    def __call__(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """q (n, n_heads * key_dim), k (n, n_kv_heads * key_dim) -> the same, normalised unless that is ``fused``."""
        return q, k


class HeadsNorm(QkNorm):
    """``heads``, ``heads-last`` and ``plain``."""

    def __init__(self, q: Norm, k: Norm, *, last: bool = False):
        self.fused, self.last = (q, k), last


class RowsNorm(QkNorm):
    """``rows`` and ``layer``."""

    def __init__(self, q: RmsNorm | LayerNorm, k: RmsNorm | LayerNorm):
        self.q, self.k = q, k

    def __call__(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.q(q), self.k(k)


class EachNorm(QkNorm):
    """``each``. ``q`` (n_heads, key_dim) and ``k`` (n_kv_heads, key_dim) are the weights."""

    def __init__(self, ops: Ops, q: torch.Tensor, k: torch.Tensor, eps: float):
        self.ops, self.weights = ops, (q, k)
        ones = torch.ones_like(q[0])
        self.norm = LayerNormSpec(ones, torch.zeros_like(ones), eps)

    def __call__(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._one(q, self.weights[0]), self._one(k, self.weights[1])

    def _one(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        heads = self.ops.layer_norm(x.reshape(-1, weight.shape[1]), self.norm)
        return self.ops.scale(heads.reshape(-1, weight.numel()), weight.flatten())


def read_qk_norm(weights: Weights, config: DecoderConfig, layer: int, kind: str) -> QkNorm:
    """Of the tensors ``attn_q_norm`` and ``attn_k_norm``; ``kind`` is one of the above, or "" for none."""
    if not kind:
        return QkNorm()
    if kind == "plain":
        ones = Norm(torch.ones(config.key_dim, device=weights.ops.device), config.norm_eps)
        return HeadsNorm(ones, ones)
    names = [f"blk.{layer}.attn_{x}_norm" for x in "qk"]
    dim, n_heads = config.key_dim, (config.n_heads, config.n_kv_heads)
    if kind == "each":
        vectors = [weights.vector(f"{name}.weight", n, dim) for name, n in zip(names, n_heads, strict=True)]
        return EachNorm(weights.ops, vectors[0], vectors[1], config.norm_eps)
    assert kind in ("heads", "heads-last", "rows", "layer"), kind
    by_head = kind.startswith("heads")
    sizes = [dim if by_head else n * dim for n in n_heads]
    if kind == "layer":
        return RowsNorm(*(LayerNorm(weights, name, n, config.norm_eps) for name, n in zip(names, sizes, strict=True)))
    q, k = (RmsNorm(weights, name, size, config.norm_eps) for name, size in zip(names, sizes, strict=True))
    return HeadsNorm(q.norm, k.norm, last=kind == "heads-last") if by_head else RowsNorm(q, k)
