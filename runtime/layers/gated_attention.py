"""Attention whose heads pass a gate (Qiu et al., arXiv:2505.06708)."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import AttentionSpec, Norm

from ..config import DecoderConfig
from ..kept import Kept, KvShape
from ..weights import Weights
from .decoder import Step
from .linear import Linear, apply_all
from .norm import RmsNorm
from .rope import Rope


class GatedAttention:
    """As ``Attention``, with ``attn_q`` twice as large: of each head the query, then a gate, whose sigmoid is what
    the head's result is multiplied by. Queries and keys are normalised head by head.
    """

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, *, rope: Rope, spec: AttentionSpec):
        self.kept = Kept(KvShape(config.n_kv_heads, config.key_dim, config.value_dim))
        self.ops, self.rope, self.spec, self.layer, self.config = weights.ops, rope, spec, layer, config
        prefix, hidden, dim = f"blk.{layer}.attn_", config.hidden_size, config.key_dim
        sizes = {"q": 2 * config.n_heads * dim, "k": config.n_kv_heads * dim, "v": config.n_kv_heads * config.value_dim}
        self.inputs = [Linear(weights, prefix + name, size, hidden) for name, size in sizes.items()]
        self.q_norm, self.k_norm = (RmsNorm(weights, f"{prefix}{x}_norm", dim, config.norm_eps) for x in "qk")
        self.output = Linear(weights, f"{prefix}output", hidden, config.n_heads * config.value_dim, biased=False)

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Writes this step's keys and values to the cache.
        """
        c, n = self.config, x.shape[0]
        queries_and_gates, flat_k, flat_v = apply_all(self.inputs, x, norm)
        heads = queries_and_gates.view(n * c.n_heads, 2 * c.key_dim)
        q = self.q_norm(heads[:, : c.key_dim]).view(n, c.n_heads, c.key_dim)
        k = self.k_norm(flat_k.view(n * c.n_kv_heads, c.key_dim)).view(n, c.n_kv_heads, c.key_dim)
        v = flat_v.view(n, c.n_kv_heads, c.value_dim)
        keys, values = step.cache.keys[self.layer], step.cache.values[self.layer]
        q = self.ops.rope_store(q, k, v, step.rotation(self.rope), keys, values, step.layout)
        found = self.ops.attention(q, keys, values, step.layout, self.spec).view(n * c.n_heads, c.value_dim)
        gated = self.ops.gated(heads[:, c.key_dim :], found, "sigmoid")
        return self.output(gated.view(n, c.n_heads * c.value_dim), residual=residual)
