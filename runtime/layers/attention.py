"""Self-attention with grouped queries over the paged cache (Ainslie et al., arXiv:2305.13245)."""

from __future__ import annotations

import torch

from gristmill.kernels.specs import AttentionSpec, Norm

from ..config import DecoderConfig
from ..kept import Kept, KvShape
from ..vision.rows import seeing_all
from ..weights import Weights
from .decoder import Step
from .linear import Linear, apply_all
from .qk_norm import read_qk_norm
from .rope import Rope


class Attention:
    """Queries, keys and values from ``attn_q``, ``attn_k``, ``attn_v`` or, where that exists, one ``attn_qkv``.

    ``qk_norm``: how queries and keys are normalised (see ``qk_norm.py``), or "".
    ``clamp``: they and the values are held between -clamp and clamp (0: they are not). ``temperatures`` float32
    (n_ctx, 1) are what the query of each position is multiplied by. Without ``input_bias`` (and scale) or
    ``output_bias``, what a file has of them is not used.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        *,
        rope: Rope,
        spec: AttentionSpec,
        qk_norm: str = "",
        clamp: float = 0.0,
        input_bias: bool = True,
        output_bias: bool = True,
        temperatures: torch.Tensor | None = None,
    ):
        self.kept = Kept(KvShape(config.n_kv_heads, config.key_dim, config.value_dim))
        self.temperatures = temperatures
        self.clamp, self.qk_norm = clamp, read_qk_norm(weights, config, layer, qk_norm)
        self.ops, self.rope, self.spec, self.layer, self.config = weights.ops, rope, spec, layer, config
        prefix, hidden = f"blk.{layer}.", config.hidden_size
        q_size = config.n_heads * config.key_dim
        k_size, v_size = config.n_kv_heads * config.key_dim, config.n_kv_heads * config.value_dim
        self.sizes = [q_size, k_size, v_size]
        fused = f"{prefix}attn_qkv.weight" in weights
        names = {f"{prefix}attn_qkv": sum(self.sizes)} if fused else {}
        names = names or dict(zip((f"{prefix}attn_{x}" for x in "qkv"), self.sizes, strict=True))
        self.inputs = [
            Linear(weights, name, size, hidden, scaled=input_bias, biased=input_bias) for name, size in names.items()
        ]
        heads = config.n_heads * config.value_dim
        self.output = Linear(weights, f"{prefix}attn_output", hidden, heads, biased=output_bias)

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Writes this step's keys and values to the cache.
        """
        c, n = self.config, x.shape[0]
        parts = apply_all(self.inputs, x, norm)
        if self.clamp:
            parts = [self.ops.clamp(part, self.clamp) for part in parts]
        flat_q, flat_k, flat_v = parts if len(parts) == 3 else torch.split(parts[0], self.sizes, dim=1)
        flat_q, flat_k = self.qk_norm(flat_q, flat_k)
        if self.temperatures is not None:
            flat_q = self.ops.scale(flat_q, self.ops.gather(self.temperatures, step.layout.positions))
        q = flat_q.reshape(n, c.n_heads, c.key_dim)
        k = flat_k.reshape(n, c.n_kv_heads, c.key_dim)
        v = flat_v.reshape(n, c.n_kv_heads, c.value_dim)
        keys, values = step.cache.keys[self.layer], step.cache.values[self.layer]
        rotation, norms = step.rotation(self.rope), self.qk_norm
        q = self.ops.rope_store(q, k, v, rotation, keys, values, step.layout, norms.fused, norms.last)
        heads = self.ops.attention(q, keys, values, step.layout, self.spec)
        heads = self._look_ahead(heads, q, step)
        return self.output(heads.reshape(n, c.n_heads * c.value_dim), residual=residual)

    def _look_ahead(self, heads: torch.Tensor, q: torch.Tensor, step: Step) -> torch.Tensor:
        """``heads`` with those of pictures that see both sides computed anew."""
        pictures = step.pictures
        if pictures is None or pictures.layout is None:
            return heads
        keys, values = step.cache.keys[self.layer], step.cache.values[self.layer]
        ahead = self.ops.attention(q[pictures.at], keys, values, pictures.layout, seeing_all(self.spec))
        return heads.index_copy(0, pictures.at, ahead)
