"""GPT-NeoX and Pythia (arXiv:2204.06745, 2304.01373): both layers read the stream at once, where the file says so."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, ParallelBlock, PlainMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("gptneox",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta, norm="layer")
    is_parallel = meta.flag("use_parallel_residual", True)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)

    def block(layer: int) -> PreNormBlock | ParallelBlock:
        attention = Attention(weights, config, layer, rope=rope, spec=spec)
        mlp = PlainMlp(weights, config, layer, "gelu")
        if is_parallel:
            return ParallelBlock(weights, config, layer, attention, mlp, names=("attn_norm", "ffn_norm"))
        return PreNormBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
