"""GLM-4.5 to 4.7 (arXiv:2508.06471): experts chosen by sigmoids with a bias, after some dense layers; half of each
head turns. Files may hold one more layer, which guesses a token ahead; it is not used.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedMlp, MoeMlp, PreNormBlock, Rope
from ..weights import Weights

ARCHITECTURES = ("glm4moe",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    spec = AttentionSpec(config.attention_scale)
    rope = Rope(weights.ops, config.rope)
    names = ("attn_norm", "post_attention_norm")

    def block(layer: int) -> PreNormBlock:
        qk_norm = "heads" if f"blk.{layer}.attn_q_norm.weight" in weights else ""
        attention = Attention(weights, config, layer, rope=rope, spec=spec, qk_norm=qk_norm)
        is_dense = config.is_dense(layer)
        mlp = GatedMlp(weights, config, layer, "silu") if is_dense else MoeMlp(weights, config, layer)
        return PreNormBlock(weights, config, layer, attention, mlp, names=names)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
