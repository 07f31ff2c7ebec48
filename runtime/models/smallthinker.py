"""SmallThinker (arXiv:2507.20984): the router reads the stream before attention does, gates are ReLUs, and only layers
with a sliding window turn q and k.
"""

from __future__ import annotations

from gristmill.kernels.specs import AttentionSpec

from ..config import Metadata, read_decoder_config, read_windows
from ..layers import Attention, Decoder, EarlyRoutedBlock, MoeMlp, NoRope, Rope
from ..weights import Weights

ARCHITECTURES = ("smallthinker",)


def build(meta: Metadata, weights: Weights, n_ctx: int) -> Decoder:
    config = read_decoder_config(meta)
    windows = read_windows(meta, config.n_layers, every=4, full_first=True)
    turning, still = Rope(weights.ops, config.rope), NoRope(weights.ops)

    def block(layer: int) -> EarlyRoutedBlock:
        spec = AttentionSpec(config.attention_scale, windows[layer])
        is_turning = windows[layer] or not any(windows)
        attention = Attention(weights, config, layer, rope=turning if is_turning else still, spec=spec)
        mlp = MoeMlp(weights, config, layer, "relu", normalize=True)
        return EarlyRoutedBlock(weights, config, layer, attention, mlp)

    return Decoder(weights, config, [block(layer) for layer in range(config.n_layers)])
