"""Command R7B and A (Cohere): Command R with three layers of four on a sliding window; only those turn q and k."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import Attention, Decoder, GatedMlp, NoRope, ParallelBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("cohere2",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, interleaved_rope=True, norm="layer")
    windows = read_windows(meta, config.n_layers, every=4)
    turning, still = Rope(weights.ops, config.rope), NoRope(weights.ops)

    def block(layer: int) -> ParallelBlock:
        spec = AttentionSpec(config.attention_scale, windows[layer])
        rope = turning if windows[layer] else still
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        return ParallelBlock(weights, config, layer, attention, GatedMlp(weights, config, layer, "silu", scaled=True))

    blocks = [block(layer) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks, logit_scale=meta.factor("logit_scale"))
