"""How attention and feed-forward layers meet the residual stream. What they are is the architecture's choice."""

from __future__ import annotations

from typing import Protocol

import torch

from gristmill.kernels.specs import Norm

from ..config import DecoderConfig
from ..kept import Kept
from ..weights import Weights
from .decoder import Step
from .moe import MoeMlp
from .norm import LayerNorm, RmsNorm, stream_norm


class Mixer(Protocol):
    """Attention or what stands in its place: reads norm(x), sees other tokens, adds to ``residual``.

    ``kept``: what it keeps of a sequence, for itself.
    """

    @property
    def kept(self) -> Kept: ...

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor: ...


class Mlp(Protocol):
    """A feed-forward layer: reads norm(x), each token for itself, adds to ``residual``."""

    def __call__(self, x: torch.Tensor, norm: Norm | None, residual: torch.Tensor | None = None) -> torch.Tensor: ...


class _MixerBlock:
    mixer: Mixer

    @property
    def kept(self) -> Kept:
        return self.mixer.kept


class PreNormBlock(_MixerBlock):
    """Each layer works on the normalised stream and adds to it: x + layer(norm(x)).

    ``names``: the norms' tensors. What is added is multiplied by ``residual_scale``.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        mixer: Mixer,
        mlp: Mlp,
        *,
        names: tuple[str, str] = ("attn_norm", "ffn_norm"),
        residual_scale: float = 1.0,
    ):
        self.ops, self.mixer, self.mlp, self.residual_scale = weights.ops, mixer, mlp, residual_scale
        self.mixer_norm, self.mlp_norm = (stream_norm(weights, f"blk.{layer}.{name}", config) for name in names)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        lead, norm = self.mixer_norm.lead(x)
        if self.residual_scale == 1.0:
            x = self.mixer(lead, step, norm, residual=x)
            return self.mlp(*self.mlp_norm.lead(x), residual=x)
        x = self._add(x, self.mixer(lead, step, norm))
        return self._add(x, self.mlp(*self.mlp_norm.lead(x)))

    def _add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.ops.add(x, self.ops.scale(y, self.residual_scale))


class EarlyRoutedBlock(PreNormBlock):
    """The experts of the second layer are chosen by the stream as it comes in, before the first."""

    mlp: MoeMlp

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        chosen = self.mlp.route(x)
        lead, norm = self.mixer_norm.lead(x)
        x = self.mixer(lead, step, norm, residual=x)
        return self.mlp(*self.mlp_norm.lead(x), residual=x, chosen=chosen)


class SandwichBlock(PreNormBlock):
    """What a layer adds is normalised as well: x + norm(layer(norm(x)))."""

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        mixer: Mixer,
        mlp: Mlp,
        *,
        names: tuple[str, str] = ("attn_norm", "ffn_norm"),
        post_names: tuple[str, str] = ("post_attention_norm", "post_ffw_norm"),
    ):
        super().__init__(weights, config, layer, mixer, mlp, names=names)
        posts = (RmsNorm(weights, f"blk.{layer}.{n}", config.hidden_size, config.norm_eps) for n in post_names)
        self.post_mixer_norm, self.post_mlp_norm = posts

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        lead, norm = self.mixer_norm.lead(x)
        x = self.post_mixer_norm(self.mixer(lead, step, norm), residual=x)
        return self.post_mlp_norm(self.mlp(*self.mlp_norm.lead(x)), residual=x)


class AddedNormBlock(_MixerBlock):
    """Only what a layer adds is normalised: x + norm(layer(x))."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, mixer: Mixer, mlp: Mlp):
        self.mixer, self.mlp = mixer, mlp
        self.mixer_norm = stream_norm(weights, f"blk.{layer}.post_attention_norm", config)
        self.mlp_norm = stream_norm(weights, f"blk.{layer}.post_ffw_norm", config)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.mixer_norm(self.mixer(x, step, None), residual=x)
        return self.mlp_norm(self.mlp(x, None), residual=x)


class ParallelBlock(_MixerBlock):
    """Both layers read the same stream, and both add to it: x + mixer(norm(x)) + mlp(norm(x)).

    ``names``: the tensors of the two norms, the second "" where they are one.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        mixer: Mixer,
        mlp: Mlp,
        *,
        names: tuple[str, str] = ("attn_norm", ""),
    ):
        self.mixer, self.mlp = mixer, mlp
        self.norm = stream_norm(weights, f"blk.{layer}.{names[0]}", config)
        self.mlp_norm = stream_norm(weights, f"blk.{layer}.{names[1]}", config) if names[1] else None

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        lead, norm = self.norm.lead(x)
        y = self.mixer(lead, step, norm, residual=x)
        if self.mlp_norm is not None:
            lead, norm = self.mlp_norm.lead(x)
        return self.mlp(lead, norm, residual=y)


class PostNormBlock(_MixerBlock):
    """The stream is normalised after each addition: norm(x + layer(x)), as in the first transformers."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, mixer: Mixer, mlp: Mlp):
        self.mixer, self.mlp = mixer, mlp
        self.mixer_norm = LayerNorm(weights, f"blk.{layer}.attn_output_norm", config.hidden_size, config.norm_eps)
        self.mlp_norm = LayerNorm(weights, f"blk.{layer}.layer_output_norm", config.hidden_size, config.norm_eps)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        x = self.mixer_norm(self.mixer(x, step, None, residual=x))
        return self.mlp_norm(self.mlp(x, None, residual=x))


class MixerBlock(_MixerBlock):
    """A layer without a feed-forward part: x + mixer(norm(x))."""

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, mixer: Mixer):
        self.mixer, self.norm = mixer, stream_norm(weights, f"blk.{layer}.attn_norm", config)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        lead, norm = self.norm.lead(x)
        return self.mixer(lead, step, norm, residual=x)


class MlpBlock:
    """A layer that is feed-forward only: x + mlp(norm(x)). Its norm is named as a mixer's."""

    kept = Kept()

    def __init__(self, weights: Weights, config: DecoderConfig, layer: int, mlp: Mlp):
        self.mlp, self.norm = mlp, stream_norm(weights, f"blk.{layer}.attn_norm", config)

    def __call__(self, x: torch.Tensor, step: Step) -> torch.Tensor:
        return self.mlp(*self.norm.lead(x), residual=x)


class SideBySide:
    """Two mixers in the place of one: both read the same, both add to the stream.

    Only one of them may keep keys and values, and only one states.
    """

    def __init__(self, first: Mixer, second: Mixer):
        self.mixers = first, second
        self.kept = Kept(first.kept.kv or second.kept.kv, first.kept.states or second.kept.states)

    def __call__(
        self, x: torch.Tensor, step: Step, norm: Norm | None, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        first, second = self.mixers
        return second(x, step, norm, residual=first(x, step, norm, residual=residual))
