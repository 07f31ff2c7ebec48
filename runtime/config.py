"""A decoder's shape, read from GGUF metadata: typed, checked, nothing guessed.

``Metadata`` reads one key at a time and names it in every error. ``read_decoder_config`` reads what all decoders
share; an architecture's file adds what is its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gristmill.kernels.specs import Routing

from .errors import UnsupportedModel, cut

MAX_COUNT = 1 << 24
MAX_EXPERTS = 1024
# llama-hparams.h, enum llama_expert_gating_func_type; 0 leaves it open
GATINGS = {0: "softmax", 1: "softmax", 2: "sigmoid", 3: "softmax-of-chosen"}
_GUESSING = "nextn_predict_layers"
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")


class Metadata:
    """Typed reads of GGUF keys; ``{arch}.`` is put before every key. Raises UnsupportedModel naming the key."""

    def __init__(self, values: Mapping[str, Any]):
        architecture = values.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise UnsupportedModel(f"general.architecture: expected a name, got {cut(architecture)}")
        self.architecture = architecture
        self._values = values

    def get(self, key: str) -> Any:
        return self._values.get(f"{self.architecture}.{key}")

    def count(self, key: str, default: int | None = None, *, low: int = 1, high: int = MAX_COUNT) -> int:
        """An integer from ``low`` to ``high``. It may also stand as an array with a number for each layer, if these are
        equal; zeros aside, for layers that have none of it (``layer_counts``)."""
        value = self.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            others = set(value) - {0} or {0}
            value = others.pop() if len(others) == 1 else value
        value = self._given(key, value, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refuse(key, f"expected an integer from {low} to {high}, got {cut(value)}")
        return value

    def layer_counts(self, key: str, n_layers: int) -> tuple[int, ...]:
        """An integer from 0 for each layer; one number stands for all."""
        value = self.get(key)
        if isinstance(value, str) or not isinstance(value, Sequence):
            return (self.count(key, low=0),) * n_layers
        value = self._of_layers(value, n_layers)
        if len(value) != n_layers or not all(type(n) is int and 0 <= n <= MAX_COUNT for n in value):
            raise self.refuse(key, f"expected a list of {n_layers} integers, got {cut(list(value))}")
        return tuple(value)

    def number(self, key: str, default: float | None = None, *, low: float = 0.0, high: float = 1e12) -> float:
        """A finite number from ``low`` to ``high``."""
        value = self._given(key, self.get(key), default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(key, f"expected a finite number, got {cut(value)}")
        if not low <= value <= high:
            raise self.refuse(key, f"expected a number from {low:g} to {high:g}, got {value:g}")
        return float(value)

    def choice(self, key: str, default: str, known: Sequence[str]) -> str:
        """One of the texts ``known``."""
        value = self._given(key, self.get(key), default)
        if value not in known:
            raise self.refuse(key, f"{cut(value)} is not supported; supported: {', '.join(known)}")
        return str(value)

    def factor(self, key: str, default: float = 1.0) -> float:
        """A positive number; files write 0 for the default."""
        return self.number(key, 0.0) or default

    def flag(self, key: str, default: bool) -> bool:
        """A boolean."""
        value = self._given(key, self.get(key), default)
        if value not in (0, 1):
            raise self.refuse(key, f"expected a boolean, got {cut(value)}")
        return bool(value)

    def flags(self, key: str, n: int) -> tuple[bool, ...] | None:
        """A list of ``n`` booleans (or 0 and 1), or None where the key is absent."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, str) and isinstance(value, Sequence):
            value = self._of_layers(value, n)
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != n:
            raise self.refuse(key, f"expected a list of {n} booleans, got {cut(value)}")
        if not all(item in (0, 1) for item in value):
            raise self.refuse(key, f"expected booleans, got {cut(list(value))}")
        return tuple(bool(item) for item in value)

    def _of_layers(self, values: Sequence[Any], n: int) -> Sequence[Any]:
        """Lists may count the layers that guess ahead, too."""
        return values[:n] if len(values) == n + self.count(_GUESSING, 0, low=0) else values

    def unsupported(self, *keys: str) -> None:
        """Raises UnsupportedModel where one of ``keys`` asks for something: a value other than 0 or false."""
        for key in keys:
            if self.get(key):
                raise self.refuse(key, f"{cut(self.get(key))} is not supported; supported: 0")

    def refuse(self, key: str, why: str) -> UnsupportedModel:
        return UnsupportedModel(f"{self.architecture}.{key}: {why}")

    def _given(self, key: str, value: Any, default: Any) -> Any:
        if value is None:
            value = default
        if value is None:
            raise self.refuse(key, "missing")
        return value


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding. ``factor`` stretches positions; the yarn fields are those of arXiv:2309.00071.

    ``truncate``: the ends of yarn's ramp are whole numbers.
    """

    dim: int
    base: float
    interleaved: bool
    scaling: str = "none"
    factor: float = 1.0
    original_context: int = 0
    attention_factor: float = 1.0
    extrapolation: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True


@dataclass(frozen=True)
class MoeConfig:
    """``n_used`` of ``n_experts`` experts of ``ffn_size`` serve each token, and one of ``shared_size`` all (0: none).

    ``routing``: by the file's keys; where they leave the gating open, it is softmax. The first ``n_dense`` layers
    have no experts.
    """

    n_experts: int
    ffn_size: int
    shared_size: int
    n_dense: int
    routing: Routing


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder-only transformer. Dimensions are elements; ``key_dim`` and ``value_dim`` are per head."""

    architecture: str
    n_layers: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    key_dim: int
    value_dim: int
    ffn_size: int
    context_length: int
    norm_eps: float
    rope: RopeConfig
    moe: MoeConfig | None = None
    n_guessing: int = 0  # layers behind the others that guess a token ahead (arXiv:2412.19437, 2.2), not used
    norm: str = "rms"  # "rms-bias", "layer", or "plain": layer norms without tensors

    @property
    def attention_scale(self) -> float:
        """The usual factor before the softmax."""
        return 1.0 / math.sqrt(self.key_dim)

    def is_dense(self, layer: int) -> bool:
        """Whether a layer is one of those before the first with experts."""
        return self.moe is None or layer < self.moe.n_dense


_EPSILONS = {
    "rms": "attention.layer_norm_rms_epsilon",
    "rms-bias": "attention.layer_norm_rms_epsilon",
    "layer": "attention.layer_norm_epsilon",
    "plain": "attention.layer_norm_epsilon",
}


def read_decoder_config(meta: Metadata, *, interleaved_rope: bool = False, norm: str = "rms") -> DecoderConfig:
    """What all models share. ``interleaved_rope`` is the architecture's pairing in GGUF files, ``norm`` its norms."""
    n_heads = meta.count("attention.head_count")
    n_kv_heads = meta.count("attention.head_count_kv", n_heads)
    hidden = meta.count("embedding_length")
    if n_heads % n_kv_heads:
        raise meta.refuse("attention.head_count_kv", f"{n_kv_heads} does not divide {n_heads} heads")
    if meta.get("attention.key_length") is None and hidden % n_heads:
        raise meta.refuse("attention.head_count", f"{n_heads} does not divide the width {hidden}")
    key_dim = meta.count("attention.key_length", hidden // n_heads)
    n_layers, n_guessing = _read_layers(meta)
    return DecoderConfig(
        architecture=meta.architecture,
        n_layers=n_layers,
        n_guessing=n_guessing,
        hidden_size=hidden,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        key_dim=key_dim,
        value_dim=meta.count("attention.value_length", key_dim),
        # Files may leave it out where all layers have experts.
        ffn_size=meta.count("feed_forward_length", meta.count("expert_feed_forward_length", 0, low=0) or None),
        context_length=meta.count("context_length", high=1 << 31),
        norm_eps=meta.number(_EPSILONS[norm], high=1.0),
        rope=read_rope_config(meta, key_dim, interleaved=interleaved_rope),
        moe=_read_moe_config(meta),
        norm=norm,
    )


def read_recurrent_config(meta: Metadata) -> DecoderConfig:
    """Of a model that has neither attention nor feed-forward layers: their sizes are 0, whatever the file says."""
    n_layers, n_guessing = _read_layers(meta)
    return DecoderConfig(
        architecture=meta.architecture,
        n_layers=n_layers,
        n_guessing=n_guessing,
        hidden_size=meta.count("embedding_length"),
        n_heads=0,
        n_kv_heads=0,
        key_dim=0,
        value_dim=0,
        ffn_size=0,
        context_length=meta.count("context_length", high=1 << 31),
        norm_eps=meta.number(_EPSILONS["rms"], high=1.0),
        rope=RopeConfig(dim=0, base=1.0, interleaved=False),
    )


def _read_layers(meta: Metadata) -> tuple[int, int]:
    """Layers, and those after them that guess tokens further ahead."""
    n_layers = meta.count("block_count", high=4096)
    n_guessing = meta.count(_GUESSING, 0, low=0, high=n_layers - 1)
    return n_layers - n_guessing, n_guessing


def read_encoder_config(meta: Metadata, *, interleaved_rope: bool = False) -> DecoderConfig:
    """As ``read_decoder_config``, for models with layer norms. Raises UnsupportedModel where attention is causal."""
    meta.unsupported("attention.causal")
    return read_decoder_config(meta, interleaved_rope=interleaved_rope, norm="layer")


def read_windows(meta: Metadata, n_layers: int, *, every: int, full_first: bool = False, window: int = 0) -> list[int]:
    """Each layer's sliding window, 0 for those that see everything.

    Which do, ``attention.sliding_window_pattern`` says; where it does not, it is every ``every``-th layer, of each
    such group the last, or the first. ``window`` is the default.
    """
    window = meta.count("attention.sliding_window", window, low=0)
    given = meta.flags("attention.sliding_window_pattern", n_layers)
    windowed = given or [(layer + (0 if full_first else 1)) % every != 0 for layer in range(n_layers)]
    return [window if has_window else 0 for has_window in windowed]


def has_rope_sections(meta: Metadata) -> bool:
    """Whether parts of each head turn by different positions, as for pictures. For text they are all the same."""
    return any(meta.get("rope.dimension_sections") or ())


def read_rope_config(meta: Metadata, key_dim: int, *, interleaved: bool) -> RopeConfig:
    dim = meta.count("rope.dimension_count", key_dim, high=key_dim)
    if dim % 2:
        raise meta.refuse("rope.dimension_count", f"expected an even number, got {dim}")
    scaling = meta.choice("rope.scaling.type", "none", ROPE_SCALINGS)
    factor = meta.number("rope.scaling.factor", meta.number("rope.scale_linear", 0.0))
    extrapolation = meta.number("rope.scaling.yarn_ext_factor", -1.0, low=-1.0)
    return RopeConfig(
        dim=dim,
        base=meta.number("rope.freq_base", 10000.0, low=1.0),
        interleaved=interleaved,
        scaling=scaling,
        factor=factor or 1.0,  # files write 0 for "no scaling"
        original_context=meta.count("rope.scaling.original_context_length", 0, low=0, high=1 << 31),
        attention_factor=meta.number("rope.scaling.attn_factor", 1.0),
        extrapolation=extrapolation if extrapolation >= 0 else float(scaling == "yarn"),
        beta_fast=meta.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=meta.number("rope.scaling.yarn_beta_slow", 1.0),
        # A key of ours: files that others make leave it out, though gpt-oss is trained without.
        truncate=meta.flag("rope.scaling.yarn_truncate", True),
    )


def _read_moe_config(meta: Metadata) -> MoeConfig | None:
    n_experts = meta.count("expert_count", 0, low=0, high=MAX_EXPERTS)
    if not n_experts:
        return None
    ffn_size = meta.count("expert_feed_forward_length", 0, low=0) or meta.count("feed_forward_length")
    n_shared = meta.count("expert_shared_count", 0, low=0, high=MAX_EXPERTS)
    return MoeConfig(
        n_experts=n_experts,
        ffn_size=ffn_size,
        shared_size=meta.count("expert_shared_feed_forward_length", 0, low=0) or n_shared * ffn_size,
        n_dense=meta.count("leading_dense_block_count", 0, low=0),
        routing=_read_routing(meta, n_experts),
    )


def _read_routing(meta: Metadata, n_experts: int) -> Routing:
    n_used = meta.count("expert_used_count", high=n_experts)
    gating = meta.count("expert_gating_func", 0, low=0)
    if gating not in GATINGS:
        raise meta.refuse("expert_gating_func", f"{gating} is not supported; supported: {', '.join(map(str, GATINGS))}")
    n_groups = meta.count("expert_group_count", 1, low=0, high=64) or 1
    n_groups_used = meta.count("expert_group_used_count", n_groups, low=0, high=n_groups) or n_groups
    if n_experts % n_groups or n_used > n_experts // n_groups * n_groups_used:
        raise meta.refuse("expert_group_count", f"{n_groups} groups do not fit {n_experts} experts, {n_used} used")
    return Routing(
        n_used=n_used,
        gating=GATINGS[gating],
        normalize=meta.flag("expert_weights_norm", False),
        scale=meta.factor("expert_weights_scale"),
        n_groups=n_groups,
        n_groups_used=n_groups_used,
    )
