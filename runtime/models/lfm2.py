"""LFM2 (arXiv:2511.23404), also with experts: gated short convolutions, and a few layers of attention."""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import Attention, Decoder, GatedConv, GatedMlp, MoeMlp, PreNormBlock, read_rope
from ..ssm_config import MAX_CONV_WIDTH
from ..weights import Weights

ARCHITECTURES = ("lfm2", "lfm2moe")


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    kv_heads = meta.layer_counts("attention.head_count_kv", config.n_layers)
    width = meta.count("shortconv.l_cache", high=MAX_CONV_WIDTH)
    spec = AttentionSpec(config.attention_scale, window=meta.count("attention.sliding_window", 0, low=0))
    rope = read_rope(weights, config)

    def mixer(layer: int) -> Attention | GatedConv:
        if kv_heads[layer]:
            return Attention(weights, config, layer, rope=rope, spec=spec, qk_norm="heads", output_bias=False)
        return GatedConv(weights, config, layer, width)

    def block(layer: int) -> PreNormBlock:
        dense = config.is_dense(layer)
        mlp = GatedMlp(weights, config, layer, "silu") if dense else MoeMlp(weights, config, layer, normalize=True)
        return PreNormBlock(weights, config, layer, mixer(layer), mlp)

    blocks = [block(layer) for layer in range(config.n_layers)]
    return Decoder(weights, config, blocks, norm_name="token_embd_norm")  # so these files call the last norm
