"""gpt-oss (arXiv:2508.10925): every second layer with a sliding window, sinks in attention, experts with biases and a
bounded gate, weighed by a softmax over those that were chosen.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import Attention, Decoder, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("gpt-oss",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    windows = read_windows(meta, config.n_layers, every=2)
    rope = Rope(weights.ops, config.rope)
    names = ("attn_norm", "post_attention_norm")

    def block(layer: int) -> PreNormBlock:
        sinks = weights.vector(f"blk.{layer}.attn_sinks.weight", config.n_heads)
        spec = AttentionSpec(config.attention_scale, windows[layer], sinks=sinks)
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        mlp = MoeMlp(weights, config, layer, "oai_swiglu", gating="softmax-of-chosen", normalize=False)
        return PreNormBlock(weights, config, layer, attention, mlp, names=names)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
