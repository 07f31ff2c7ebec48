"""GPT-2 (Radford et al., 2019) and StarCoder (arXiv:2305.06161): learned positions, layer norms, fused q, k and v."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, NoRope, PlainMlp, PreNormBlock
from ..weights import Weights

ARCHITECTURES = (
    "gpt2",
    "starcoder",
)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    spec = AttentionSpec(config.attention_scale)
    rope = NoRope(weights.ops)

    def block(layer: int) -> PreNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PreNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "gelu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)], positions=True)
