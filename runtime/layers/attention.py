"""Self-attention with grouped queries over the paged cache (Ainslie et al., arXiv:2305.13245)."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import AttentionSpec, Norm

from ..config import DecoderConfig
from ..weights import Weights
from .decoder import Step
from .linear import Linear, apply_all
from .norm import RmsNorm
from .rope import Rope


class Attention:
    """Queries, keys and values from ``attn_q``, ``attn_k``, ``attn_v`` or, where that exists, one ``attn_qkv``.

    ``qk_norm``: heads are normalised before they are turned (``attn_q_norm``, ``attn_k_norm``).
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        *,
        rope: Rope,
        spec: AttentionSpec,
        qk_norm: bool = False,
    ):
        self.ops, self.rope, self.spec, self.layer, self.config = weights.ops, rope, spec, layer, config
        prefix, hidden = f"blk.{layer}.", config.hidden_size
        q_size = config.n_heads * config.key_dim
        k_size, v_size = config.n_kv_heads * config.key_dim, config.n_kv_heads * config.value_dim
        self.sizes = [q_size, k_size, v_size]
        fused = f"{prefix}attn_qkv.weight" in weights
        names = {f"{prefix}attn_qkv": sum(self.sizes)} if fused else {}
        names = names or dict(zip((f"{prefix}attn_{x}" for x in "qkv"), self.sizes, strict=True))
        self.inputs = [Linear(weights, name, size, hidden) for name, size in names.items()]
        self.output = Linear(weights, f"{prefix}attn_output", hidden, config.n_heads * config.value_dim)
        self.norms: tuple[Norm, Norm] | None = None
        if qk_norm:
            q_norm = RmsNorm(weights, f"{prefix}attn_q_norm", config.key_dim, config.norm_eps)
            k_norm = RmsNorm(weights, f"{prefix}attn_k_norm", config.key_dim, config.norm_eps)
            self.norms = (q_norm.norm, k_norm.norm)

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Writes this step's keys and values to the cache.
        """
        c, n = self.config, x.shape[0]
        parts = apply_all(self.inputs, x, norm)
        flat_q, flat_k, flat_v = parts if len(parts) == 3 else torch.split(parts[0], self.sizes, dim=1)
        q = flat_q.reshape(n, c.n_heads, c.key_dim)
        k = flat_k.reshape(n, c.n_kv_heads, c.key_dim)
        v = flat_v.reshape(n, c.n_kv_heads, c.value_dim)
        keys, values = step.cache.keys[self.layer], step.cache.values[self.layer]
        q = self.ops.rope_store(q, k, v, step.rotation(self.rope), keys, values, step.layout, self.norms)
        heads = self.ops.attention(q, keys, values, step.layout, self.spec)
        return self.output(heads.reshape(n, c.n_heads * c.value_dim), residual=residual)
