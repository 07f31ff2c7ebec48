"""BERT (arXiv:1810.04805) and what shares its shape: MiniLM, BGE, E5, GTE, and cross-encoders."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_encoder_config
from ..layers import Attention, Encoder, NoRope, PlainMlp, PostNormBlock
from ..weights import Weights

ARCHITECTURES = ("bert",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Encoder:
    config = read_encoder_config(meta)
    spec = AttentionSpec(config.attention_scale, causal=False)
    rope = NoRope(weights.ops)  # positions are embedded

    def block(layer: int) -> PostNormBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return PostNormBlock(weights, config, layer, attention, PlainMlp(weights, config, layer, "gelu_erf"))

    return Encoder(weights, config, [block(layer) for layer in range(config.n_layers)], positions=True)
