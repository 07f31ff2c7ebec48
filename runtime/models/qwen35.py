"""Qwen 3.5 and 3.6, the text side: as Qwen 3 Next, dense or with experts, heads in another order.

Parts of each head turn by other positions where there are pictures; for text these are all the same.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config
from ..layers import (
    Decoder,
    GatedAttention,
    GatedDeltaNet,
    GatedMlp,
    MoeMlp,
    PreNormBlock,
    Rope,
    read_delta_config,
    read_recurrent_layers,
)
from ..weights import Weights

ARCHITECTURES = ("qwen35", "qwen35moe")


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    if meta.architecture == "qwen35":
        meta.unsupported("expert_count")
    config = read_decoder_config(meta)
    recurrent = read_recurrent_layers(meta, config.n_layers + config.n_guessing)
    if meta.architecture == "qwen35moe" and config.moe is None:
        raise meta.refuse("expert_count", "expected experts, got 0")
    _check_sections(meta, config.rope.dim // 2)
    sizes = read_delta_config(meta)
    spec = AttentionSpec(meta.factor("attention.scale", config.attention_scale))
    rope = Rope(weights.ops, config.rope)
    weights.ignore("cls.output.weight", "cls.output.bias")  # the classifier of reranking models

    def block(layer: int) -> PreNormBlock:
        mixer: GatedDeltaNet | GatedAttention
        if recurrent[layer]:
            mixer = GatedDeltaNet(weights, config, layer, sizes, tiled=True, scaled=True)
        else:
            mixer = GatedAttention(weights, config, layer, rope=rope, spec=spec)
        mlp: GatedMlp | MoeMlp
        if config.moe is None:
            mlp = GatedMlp(weights, config, layer, "silu", scaled=True, biased=False)
        else:
            mlp = MoeMlp(weights, config, layer, scaled=True, gating="softmax", normalize=True)
        return PreNormBlock(weights, config, layer, mixer, mlp, names=("attn_norm", "post_attention_norm"))

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])


def _check_sections(meta: Metadata, n_pairs: int) -> None:
    """Pairs take turns at the positions in time, height and width, each for as long as its section lasts. What is left
    would turn by a fourth position, which text has not."""
    key = "rope.dimension_sections"
    sections = meta.layer_counts(key, 4)
    total = sum(sections)
    if total and any(pair % total >= 3 * sections[pair % total % 3] for pair in range(n_pairs)):
        raise meta.refuse(key, f"{list(sections)} leave out some of {n_pairs} pairs")
