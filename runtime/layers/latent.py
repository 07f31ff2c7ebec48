"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1): each token has one short vector, from which
keys and values of all heads are made, and a part of the keys that all heads share and that alone turns.

What is kept of a token depends on how its file holds the matrices behind the short vector:

    attn_k_b, attn_v_b   they move to the other side, to queries and results; the short vector is the only key and value
    attn_kv_b            they are multiplied as they stand; keys and values of all heads are kept
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gristmill.kernels.specs import AttentionSpec, Norm

from ..config import DecoderConfig, Metadata
from ..kept import Kept, KvShape
from ..weights import Weights
from .decoder import Step
from .linear import Linear, apply_all
from .norm import RmsNorm
from .rope import Rope


@dataclass(frozen=True)
class LatentConfig:
    """``rank`` elements of the short vector, ``query_rank`` of that of the queries (0: they have none).

    A head's key has ``still_dim`` elements of its own, and ``turning_dim`` that all heads share.
    """

    rank: int
    query_rank: int
    still_dim: int
    turning_dim: int
    value_dim: int

    @property
    def key_dim(self) -> int:
        return self.still_dim + self.turning_dim


def read_latent_config(meta: Metadata, config: DecoderConfig) -> LatentConfig:
    """Files whose cache is that of short vectors say so in ``key_length``, and hold the heads' sizes in others."""
    key_dim = meta.count("attention.key_length_mla", 0, low=0) or config.key_dim
    if key_dim < config.rope.dim:
        raise meta.refuse(
            "attention.key_length_mla", f"{key_dim} is less than the {config.rope.dim} elements that turn"
        )
    return LatentConfig(
        rank=meta.count("attention.kv_lora_rank"),
        query_rank=meta.count("attention.q_lora_rank", 0, low=0),
        still_dim=key_dim - config.rope.dim,
        turning_dim=config.rope.dim,
        value_dim=meta.count("attention.value_length_mla", 0, low=0) or config.value_dim,
    )


class _Queries:
    """``attn_q`` or, through a short vector of their own, ``attn_q_a``, ``attn_q_a_norm`` and ``attn_q_b``."""

    def __init__(self, weights: Weights, config: DecoderConfig, latent: LatentConfig, prefix: str):
        size, hidden, rank = config.n_heads * latent.key_dim, config.hidden_size, latent.query_rank
        self.norm: RmsNorm | None = None
        if f"{prefix}attn_q.weight" in weights or not rank:
            self.first = Linear(weights, f"{prefix}attn_q", size, hidden, scaled=False)
        else:
            self.first = Linear(weights, f"{prefix}attn_q_a", rank, hidden, scaled=False)
            self.norm = RmsNorm(weights, f"{prefix}attn_q_a_norm", rank, config.norm_eps)
            self.second = Linear(weights, f"{prefix}attn_q_b", size, rank, scaled=False)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        """What ``first`` gives -> (n, n_heads * key_dim)."""
        return x if self.norm is None else self.second(x, self.norm.norm)


class LatentAttention:
    """``attn_kv_a_mqa`` gives the short vector, which ``attn_kv_a_norm`` is for, and the shared part of the keys.

    Scores are multiplied by ``scale``. ``rope`` turns the shared part; with ``NoRope`` nothing does. ``temperatures``:
    as in ``Attention``.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        latent: LatentConfig,
        layer: int,
        *,
        rope: Rope,
        scale: float,
        temperatures: torch.Tensor | None = None,
    ):
        self.ops, self.rope, self.layer, self.temperatures = weights.ops, rope, layer, temperatures
        self.n_heads, self.sizes = config.n_heads, latent
        prefix, heads = f"blk.{layer}.", config.n_heads * latent.value_dim
        self.queries = _Queries(weights, config, latent, prefix)
        width = latent.rank + latent.turning_dim
        self.short = Linear(weights, f"{prefix}attn_kv_a_mqa", width, config.hidden_size, scaled=False)
        self.norm = RmsNorm(weights, f"{prefix}attn_kv_a_norm", latent.rank, config.norm_eps)
        is_whole = f"{prefix}attn_kv_b.weight" in weights
        made = _HeadsKept if is_whole else _ShortKept
        self.form: _HeadsKept | _ShortKept = made(weights, config, latent, prefix, scale)
        self.output = Linear(weights, f"{prefix}attn_output", config.hidden_size, heads)

    @property
    def kept(self) -> Kept:
        return Kept(self.form.kv)

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x (n, hidden), which goes through ``norm`` first, if any -> (n, hidden), plus ``residual``.

        Writes what is kept of this step's tokens to the cache.
        """
        n, rank = x.shape[0], self.sizes.rank
        first, short = apply_all([self.queries.first, self.short], x, norm)
        flat_q = self.queries.finish(first)
        if self.temperatures is not None:
            flat_q = self.ops.scale(flat_q, self.ops.gather(self.temperatures, step.layout.positions))
        q, shared = flat_q.reshape(n, self.n_heads, self.sizes.key_dim), short[:, None, rank:]
        q, k, v = self.form.heads(q, shared, short[:, :rank], self.norm)
        keys, values = step.cache.keys[self.layer], step.cache.values[self.layer]
        q = self.ops.rope_store(q, k, v, step.rotation(self.rope), keys, values, step.layout)
        heads = self.form.results(self.ops.attention(q, keys, values, step.layout, self.form.spec))
        return self.output(heads.reshape(n, -1), residual=residual)


class _ShortKept:
    """One key for all heads: the shared part and the short vector, which is the value as well."""

    def __init__(self, weights: Weights, config: DecoderConfig, latent: LatentConfig, prefix: str, scale: float):
        self.ops, self.still_dim = weights.ops, latent.still_dim
        n, rank = config.n_heads, latent.rank
        self.k_b = weights.matrix(f"{prefix}attn_k_b.weight", n, rank, latent.still_dim)
        self.v_b = weights.matrix(f"{prefix}attn_v_b.weight", n, latent.value_dim, rank)
        self.spec = AttentionSpec(scale, shared_values=rank)
        self.kv = KvShape(1, latent.turning_dim + rank, 0)

    def heads(
        self, q: torch.Tensor, shared: torch.Tensor, short: torch.Tensor, norm: RmsNorm
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q (n, n_heads, key_dim), shared (n, 1, turning_dim), short (n, rank) -> queries, keys and values
        (n, heads, dim) as they meet, what turns first."""
        own = self.ops.head_linear(q[..., : self.still_dim], self.k_b)
        k = self.ops.concat(shared, norm(short)[:, None])
        return self.ops.concat(q[..., self.still_dim :], own), k, k[..., :0]

    def results(self, heads: torch.Tensor) -> torch.Tensor:
        """heads (n, n_heads, rank) -> (n, n_heads, value_dim)."""
        return self.ops.head_linear(heads, self.v_b)


class _HeadsKept:
    """A key and a value for each head."""

    def __init__(self, weights: Weights, config: DecoderConfig, latent: LatentConfig, prefix: str, scale: float):
        self.ops, self.still_dim, self.n_heads = weights.ops, latent.still_dim, config.n_heads
        width = config.n_heads * (latent.still_dim + latent.value_dim)
        self.kv_b = Linear(weights, f"{prefix}attn_kv_b", width, latent.rank, scaled=False)
        self.spec = AttentionSpec(scale)
        self.kv = KvShape(config.n_heads, latent.key_dim, latent.value_dim)

    def heads(
        self, q: torch.Tensor, shared: torch.Tensor, short: torch.Tensor, norm: RmsNorm
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As ``_ShortKept.heads``."""
        both = self.kv_b(short, norm.norm).reshape(q.shape[0], self.n_heads, -1)
        still, at = both[..., : self.still_dim], self.still_dim
        return self.ops.concat(q[..., at:], q[..., :at]), self.ops.concat(shared, still), both[..., at:]

    def results(self, heads: torch.Tensor) -> torch.Tensor:
        """They are the values' already."""
        return heads
