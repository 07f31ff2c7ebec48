"""StableLM (arXiv:2402.17834): layer norms, part of each head turns; the 12B reads once for both layers, with norms
on q and k.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, ParallelBlock, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("stablelm",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock | ParallelBlock:
        qk_norm = "each" if f"blk.{layer}.attn_q_norm.weight" in weights else ""
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm=qk_norm)
        mlp = GatedMlp(weights, config, layer, "silu")
        has_second_norm = f"blk.{layer}.ffn_norm.weight" in weights
        kind = PreNormBlock if has_second_norm else ParallelBlock
        return kind(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
