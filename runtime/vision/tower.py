"""A vision transformer (Dosovitskiy et al., arXiv:2010.11929), as SigLIP and CLIP have it: patches in, states out.

Squares go through one at a time, whole, so what comes out depends on the square alone.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from gristmill.kernels.layout import TokenLayout
from gristmill.kernels.ops import Ops
from gristmill.kernels.qtensor import QTensor
from gristmill.kernels.specs import AttentionSpec, Rotation

from ..kept import Kept, KvShape
from ..kv_cache import PAGE_SIZE, KVCache
from ..layers import LayerNorm, Linear
from ..layers.linear import apply_all
from ..weights import Weights
from .config import VisionConfig

_KV_TYPE = "f32"  # room for one square and one layer


class VisionTower:
    """``v.patch_embd``, positions, and ``v.blk.N``. ``v.class_embd``, a token of its own, is left out of the result."""

    def __init__(self, weights: Weights, config: VisionConfig):
        self.ops, self.config = weights.ops, config
        hidden, size = config.hidden_size, config.patch_size
        patches = weights.vector("v.patch_embd.weight", hidden, 3, size, size).reshape(hidden, -1)
        self.patches = self.ops.prepare("v.patch_embd.weight", QTensor.dense(patches))
        self.patch_bias = weights.optional_vector("v.patch_embd.bias", hidden)
        self.first = weights.optional_vector("v.class_embd", hidden)
        n = config.n_patches + (self.first is not None)
        self.positions = weights.vector("v.position_embd.weight", n, hidden)
        self.before = _optional_norm(weights, "v.pre_ln", config)
        self.blocks = [_Block(weights, config, layer) for layer in range(config.n_layers_run)]
        after = _optional_norm(weights, "v.post_ln", config)
        self.after = after if config.n_layers_run == config.n_layers else None
        _ignore_rest(weights, config)
        shape = [1, 3, 1, 1]
        self.mean = torch.tensor(config.mean, device=self.ops.device).reshape(shape)
        self.std = torch.tensor(config.std, device=self.ops.device).reshape(shape)

    def look(self, pixels: torch.Tensor) -> Generator[None, None, torch.Tensor]:
        """pixels uint8 (image_size, image_size, 3) -> float32 (n_patches, hidden). Yields between layers."""
        x = self._embed(pixels)
        room = _room(self.config, x.shape[0], self.ops.device)
        for block in self.blocks:
            yield
            x = block(x, room)
        if self.after is not None:
            x = self.after(x)
        return x if self.first is None else x[1:]

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        n, size = self.config.n_side, self.config.patch_size
        scaled = pixels.to(self.ops.device, torch.float32).permute(2, 0, 1)[None] / 255
        scaled = (scaled - self.mean) / self.std
        rows = scaled.reshape(3, n, size, n, size).permute(1, 3, 0, 2, 4).reshape(n * n, -1).contiguous()
        x = self.ops.linear(rows, self.patches, bias=self.patch_bias)
        if self.first is not None:
            x = torch.cat((self.first[None], x))
        x = self.ops.add(x, self.positions)
        return x if self.before is None else self.before(x)


@dataclass(frozen=True)
class _Room:
    """What the layers of one square share: a cache that each writes anew, and where tokens sit in it."""

    cache: KVCache
    layout: TokenLayout
    rotation: Rotation


def _room(config: VisionConfig, n: int, device: torch.device) -> _Room:
    shape = KvShape(config.n_heads, config.head_dim, config.head_dim)
    n_pages = -(-n // PAGE_SIZE)
    places = torch.arange(n, device=device)
    layout = TokenLayout(
        positions=places,
        slots=places,
        seq_starts=torch.tensor([0, n], dtype=torch.int32, device=device),
        page_table=torch.arange(n_pages, dtype=torch.int32, device=device)[None],
        context_lens=torch.tensor([n], dtype=torch.int32, device=device),
        page_size=PAGE_SIZE,
    )
    none = torch.zeros(n, 0, device=device)  # positions are embedded, nothing turns
    return _Room(KVCache.allocate([Kept(shape)], n_pages, _KV_TYPE, device), layout, Rotation(none, none, False))


class _Block:
    """x + attention(norm(x)), then x + mlp(norm(x)); every patch sees every other."""

    def __init__(self, weights: Weights, config: VisionConfig, layer: int):
        self.ops, self.config = weights.ops, config
        prefix, hidden = f"v.blk.{layer}.", config.hidden_size
        self.norm_1, self.norm_2 = (LayerNorm(weights, f"{prefix}ln{i}", hidden, config.norm_eps) for i in (1, 2))
        self.inputs = [Linear(weights, f"{prefix}attn_{x}", hidden, hidden) for x in "qkv"]
        self.output = Linear(weights, f"{prefix}attn_out", hidden, hidden)
        up, down = f"{prefix}ffn_up", f"{prefix}ffn_down"
        if weights.shape(f"{up}.weight") == (hidden, config.ffn_size) != (config.ffn_size, hidden):
            up, down = down, up  # the first files have the names of the two the other way round
        self.up = Linear(weights, up, config.ffn_size, hidden)
        self.down = Linear(weights, down, hidden, config.ffn_size)
        self.spec = AttentionSpec(config.head_dim**-0.5, causal=False)

    def __call__(self, x: torch.Tensor, room: _Room) -> torch.Tensor:
        n = x.shape[0]
        heads = n, self.config.n_heads, self.config.head_dim
        q, k, v = (part.reshape(heads) for part in apply_all(self.inputs, self.norm_1(x)))
        keys, values = room.cache.keys[0], room.cache.values[0]
        q = self.ops.rope_store(q, k, v, room.rotation, keys, values, room.layout)
        seen = self.ops.attention(q, keys, values, room.layout, self.spec)
        x = self.output(seen.reshape(n, -1), residual=x)
        inner = activated(self.ops, self.up(self.norm_2(x)), self.config.activation)
        return self.down(inner, residual=x)


def activated(ops: Ops, x: torch.Tensor, activation: str) -> torch.Tensor:
    """``gelu_quick`` is x * sigmoid(1.702 x) (arXiv:1606.08415, section 2); the others are operators."""
    if activation == "gelu_quick":
        return ops.gated(ops.scale(x, 1.702), x, "sigmoid")
    return ops.activate(x, activation)


def _optional_norm(weights: Weights, name: str, config: VisionConfig) -> LayerNorm | None:
    return LayerNorm(weights, name, config.hidden_size, config.norm_eps) if f"{name}.weight" in weights else None


def _ignore_rest(weights: Weights, config: VisionConfig) -> None:
    """Layers that are not computed."""
    parts = ("ln1", "ln2", "attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")
    for layer in range(config.n_layers_run, config.n_layers):
        weights.ignore(*(f"v.blk.{layer}.{part}.{kind}" for part in parts for kind in ("weight", "bias")))
