"""What all models of one Hugging Face class share, as data: a row of a file in ``families``.

Of most classes, everything is said by which key of config.json is which of GGUF, which module is which tensor, and
which values are built. What a row does not foresee is refused by name, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnsupportedModel, cut
from .base import Value
from .names import DECODER, Layers, Part, Scheme
from .strict_json import Fields
from .transforms import first_row

__all__ = [
    "ATTENTION", "COUNTS", "EXPERTS", "GELU", "GELU_TANH", "LAYER_NORM", "MLP", "OWN_NORMS", "PLAIN_MLP", "PRE_NORM",
    "QK_NORM", "RMS_NORM", "SANDWICH_NORM", "SHARED_EXPERT", "SILU", "SQUARED_RELU", "W_EXPERTS", "Family", "Keys",
    "Names", "layers_are", "unsupported",
]  # fmt: skip

# A key of config.json, or several that it has had. A key of an object inside has that object's before a dot.
Names = str | tuple[str, ...]
# GGUF key: where its value is in config.json.
Keys = Mapping[str, Names]

COUNTS: Keys = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "vocab_size": "vocab_size",
}
RMS_NORM: Keys = {"attention.layer_norm_rms_epsilon": "rms_norm_eps"}
LAYER_NORM: Keys = {"attention.layer_norm_epsilon": "layer_norm_eps"}

SILU = ("silu", "swish")
GELU_TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")
# GGUF cannot tell the two forms apart: its architectures compute the tanh form, which differs by less than 0.0005.
GELU = (*GELU_TANH, "gelu")
SQUARED_RELU = ("relu2",)

ATTENTION: Layers = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
QK_NORM: Layers = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
PRE_NORM: Layers = {"post_attention_layernorm": "ffn_norm"}
OWN_NORMS: Layers = {
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
SANDWICH_NORM: Layers = {**OWN_NORMS, "pre_feedforward_layernorm": "ffn_norm"}
PLAIN_MLP: Layers = {"mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
MLP: Layers = {**PLAIN_MLP, "mlp.gate_proj": "ffn_gate"}
EXPERTS: Layers = {
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.{}.gate_proj": "ffn_gate_exps",
    "mlp.experts.{}.up_proj": "ffn_up_exps",
    "mlp.experts.{}.down_proj": "ffn_down_exps",
}
SHARED_EXPERT: Layers = {
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": Part("ffn_gate_inp_shexp", first_row),
}
# Mixtral's, in the paper's letters.
W_EXPERTS: Layers = {
    "block_sparse_moe.gate": "ffn_gate_inp",
    "block_sparse_moe.experts.{}.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.{}.w2": "ffn_down_exps",
    "block_sparse_moe.experts.{}.w3": "ffn_up_exps",
}


def unsupported(key: str, value: object, known: Sequence[object] = ()) -> UnsupportedModel:
    """The error about a value of config.json that is not one of those that are built."""
    supported = f"; supported: {', '.join(map(str, known))}" if known else ""
    return UnsupportedModel(f'config.json: "{key}" {cut(value)} is not supported{supported}')


def layers_are(config: Fields, key: str, built: Sequence[object]) -> None:
    """Raises UnsupportedModel where the list ``key`` says of the layers what is not what GGUF's architecture has."""
    if config.has(key) and config.items(key) != list(built):
        raise unsupported(key, config.data[key], (list(built),))


def _nothing(config: Fields) -> dict[str, Value]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """How one class says what GGUF's ``architecture`` says.

    ``layers``, ``scheme``: its tensors' names; ``n_unused_layers``: the key that counts layers behind the last, which
    guess further tokens. ``counts``, ``numbers``, ``flags``: where it has whole numbers from 1 on, positive numbers
    and truth values; ``kv_heads``: a count that is that of the heads where it is missing. ``defaults``: the class's
    own, by key of config.json. ``only``: the values that are built, where a key is there. ``constants``: GGUF keys
    that the class implies. ``values``: what tables cannot say, by a function of config.json, which may refuse.

    ``window``: what a sliding window becomes. "context": the context ends where it would begin to matter, as the
    architecture has none; "pattern": it is in all layers but every ``full_attention_every``-th, or as "layer_types"
    says; "key": the number alone; "off": it must be turned off. ``local_rope_base``: of layers with a window, where
    GGUF has another default than the base of all.

    ``interleaved_rope``: GGUF turns neighbours of q and k, Hugging Face halves of a head. ``norm_plus_one``: norms
    multiply by 1 + weight. ``needs_head_dim``: it cannot be derived. ``rope``: positions turn q and k.
    ``rope_keys``: what ``values`` reads of the rope's object. ``quantization``: a method that is read, beside
    8-bit floats.
    """

    architecture: str
    layers: Layers
    scheme: Scheme = DECODER
    counts: Keys = field(default_factory=lambda: COUNTS)
    numbers: Keys = field(default_factory=lambda: RMS_NORM)
    flags: Keys = field(default_factory=dict)
    kv_heads: Names = "num_key_value_heads"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    constants: Mapping[str, Value] = field(default_factory=dict)
    values: Callable[[Fields], dict[str, Value]] = _nothing
    activations: tuple[str, ...] = SILU
    window: str = "context"
    full_attention_every: int = 1
    local_rope_base: float | None = None
    n_unused_layers: str = ""
    interleaved_rope: bool = False
    norm_plus_one: bool = False
    needs_head_dim: bool = False
    rope: bool = True
    rope_keys: frozenset[str] = frozenset()
    quantization: str = ""

    @property
    def is_encoder(self) -> bool:
        """Whether it has no output head, and tokens see those after them."""
        return self.constants.get("attention.causal") is False

    @property
    def head(self) -> str:
        """The output head's tensor, or "" where the class has none."""
        return next((name for name, target in self.scheme.top.items() if target == "output.weight"), "")
