"""GLM-4-0414: ChatGLM with norms on what layers add as well. Vision variants turn in half-split pairs."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, has_rope_sections, read_decoder_config
from ..layers import Attention, Decoder, FusedGatedMlp, Rope, SandwichBlock
from ..weights import Weights

ARCHITECTURES = ("glm4",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=not has_rope_sections(meta))
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> SandwichBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return SandwichBlock(weights, config, layer, attention, FusedGatedMlp(weights, config, layer, "silu"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
