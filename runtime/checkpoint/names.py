"""Tensor names of Hugging Face models, as GGUF calls them. What is done to the tensors is in ``transforms``.

GGUF's names: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/tensor_mapping.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "BERT", "BERT_SCHEME", "DECODER_SCHEME", "GEMMA2", "GEMMA3", "GEMMA_EMBEDDING_SCHEME", "LLAMA", "NOMIC_BERT",
    "NOMIC_BERT_SCHEME", "PHI3", "QWEN2", "QWEN3", "Scheme", "Target", "gguf_name",
]  # fmt: skip

_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_ATTENTION = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
_QK_NORM = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
_MLP = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
_PRE_NORM = {"post_attention_layernorm": "ffn_norm"}
_SANDWICH_NORM = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
# Mixtral's experts, in the paper's letters; {} is the number of the expert.
_EXPERTS = {
    "block_sparse_moe.gate": "ffn_gate_inp",
    "block_sparse_moe.experts.{}.w1": "ffn_gate_exps",
    "block_sparse_moe.experts.{}.w2": "ffn_down_exps",
    "block_sparse_moe.experts.{}.w3": "ffn_up_exps",
}

# Module inside a layer: name inside a block.
LLAMA = _ATTENTION | _PRE_NORM | _MLP | _EXPERTS
QWEN2 = _ATTENTION | _PRE_NORM | _MLP
QWEN3 = QWEN2 | _QK_NORM
GEMMA2 = _ATTENTION | _SANDWICH_NORM | _MLP
GEMMA3 = GEMMA2 | _QK_NORM
PHI3 = _PRE_NORM | {
    "input_layernorm": "attn_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}

BERT = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
NOMIC_BERT = {
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "norm1": "attn_output_norm",
    "mlp.fc11": "ffn_up",
    "mlp.fc12": "ffn_gate",
    "mlp.fc2": "ffn_down",
    "norm2": "layer_output_norm",
}
_ENCODER_TOP = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
}

_EXPERT = re.compile(r"(?<=\.experts\.)(0|[1-9]\d{0,5})(?=\.)")
_NUMBER = r"(0|[1-9]\d{0,5})"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a class names what is not inside a layer, its layers, and what no forward pass reads.

    ``layer`` has three groups: the layer's number, the module, and what of it.
    """

    top: Mapping[str, str]
    layer: re.Pattern[str]
    unused: re.Pattern[str]


DECODER_SCHEME = Scheme(
    _TOP,
    re.compile(rf"model\.layers\.{_NUMBER}\.(.+)\.(weight|bias)"),
    # Saved by old versions, but computed from the configuration.
    re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq"),
)
BERT_SCHEME = Scheme(
    _ENCODER_TOP
    | {
        "embeddings.position_embeddings.weight": "position_embd.weight",
        "embeddings.LayerNorm.weight": "token_embd_norm.weight",
        "embeddings.LayerNorm.bias": "token_embd_norm.bias",
    },
    re.compile(rf"encoder\.layer\.{_NUMBER}\.(.+)\.(weight|bias)"),
    re.compile(r"embeddings\.position_ids|pooler\.dense\.(weight|bias)"),  # the pooler is of the training task
)
NOMIC_BERT_SCHEME = Scheme(
    _ENCODER_TOP | {"emb_ln.weight": "token_embd_norm.weight", "emb_ln.bias": "token_embd_norm.bias"},
    re.compile(rf"encoder\.layers\.{_NUMBER}\.(.+)\.(weight|bias)"),
    re.compile(r"encoder\.layers\.\d+\.attn\.rotary_emb\.inv_freq"),
)
GEMMA_EMBEDDING_SCHEME = Scheme(
    {
        "embed_tokens.weight": "token_embd.weight",
        "norm.weight": "output_norm.weight",
        "2_Dense/linear.weight": "dense_2.weight",
        "3_Dense/linear.weight": "dense_3.weight",
    },
    re.compile(rf"layers\.{_NUMBER}\.(.+)\.(weight|bias)"),
    re.compile(r"(?!)"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a tensor goes: its GGUF name, and which expert of that tensor it is, None for a whole tensor."""

    name: str
    expert: int | None = None


def gguf_name(name: str, scheme: Scheme, layers: Mapping[str, str], n_layers: int) -> Target | None:
    """The place of the Hugging Face tensor ``name``; None for one that is not needed.

    Raises KeyError for a name that has no place in a model with these ``layers``.
    """
    if name in scheme.top:
        return Target(scheme.top[name])
    if scheme.unused.fullmatch(name):
        return None
    match = scheme.layer.fullmatch(name)
    if match is None or int(match[1]) >= n_layers:
        raise KeyError(name)
    expert = _EXPERT.search(match[2])
    module = layers[_EXPERT.sub("{}", match[2])]
    return Target(f"blk.{match[1]}.{module}.{match[3]}", int(expert[1]) if expert else None)
