"""SmolLM3: Llama's shape in which every fourth layer does not turn q and k (arXiv:2501.18795)."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, NoRope, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("smollm3",)


_STILL_EVERY = 4


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True)
    spec = AttentionSpec(config.attention_scale)
    turning, still = Rope(weights.ops, config.rope), NoRope(weights.ops)

    def block(layer: int) -> PreNormBlock:
        rope = turning if (layer + 1) % _STILL_EVERY else still
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
