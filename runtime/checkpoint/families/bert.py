"""BERT and Nomic BERT: encoders, with layer norms, and without an output head."""

from __future__ import annotations

import re

from ..hf_family import COUNTS, Family
from ..names import Scheme

_TOP = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
}

FAMILIES = {
    "BertModel": Family(
        architecture="bert",
        layers={
            "attention.self.query": "attn_q",
            "attention.self.key": "attn_k",
            "attention.self.value": "attn_v",
            "attention.output.dense": "attn_output",
            "attention.output.LayerNorm": "attn_output_norm",
            "intermediate.dense": "ffn_up",
            "output.dense": "ffn_down",
            "output.LayerNorm": "layer_output_norm",
        },
        scheme=Scheme(
            {
                **_TOP,
                "embeddings.position_embeddings.weight": "position_embd.weight",
                "embeddings.LayerNorm.weight": "token_embd_norm.weight",
                "embeddings.LayerNorm.bias": "token_embd_norm.bias",
            },
            layers="encoder.layer",
            prefixes=("bert.",),
            unused=re.compile(r"embeddings\.position_ids|pooler\.dense\.(weight|bias)"),  # the training task's pooler
        ),
        numbers={"attention.layer_norm_epsilon": "layer_norm_eps"},
        defaults={"layer_norm_eps": 1e-12},
        only={"position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,)},
        constants={"attention.causal": False},
        activations=("gelu",),
        rope=False,
    ),
    "NomicBertModel": Family(
        architecture="nomic-bert",
        layers={
            "attn.Wqkv": "attn_qkv",
            "attn.out_proj": "attn_output",
            "norm1": "attn_output_norm",
            "mlp.fc11": "ffn_up",
            "mlp.fc12": "ffn_gate",
            "mlp.fc2": "ffn_down",
            "norm2": "layer_output_norm",
        },
        scheme=Scheme(
            {**_TOP, "emb_ln.weight": "token_embd_norm.weight", "emb_ln.bias": "token_embd_norm.bias"},
            layers="encoder.layers",
            prefixes=(),
            unused=re.compile(r"encoder\.layers\.\d+\.attn\.rotary_emb\.inv_freq"),
        ),
        counts={
            **COUNTS,
            "block_count": "n_layer",
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
        },
        numbers={"attention.layer_norm_epsilon": "layer_norm_epsilon", "rope.freq_base": "rotary_emb_base"},
        defaults={"layer_norm_epsilon": 1e-12, "rotary_emb_base": 10_000.0},
        only={
            "prenorm": (False,), "parallel_block": (False,), "use_rms_norm": (False,), "causal": (False,),
            "rotary_emb_fraction": (1.0,), "rotary_emb_interleaved": (False,), "rotary_emb_scale_base": (),
            "rotary_scaling_factor": (), "scale_attn_by_inverse_layer_idx": (False,), "num_experts": (0,),
        },
        constants={"attention.causal": False},
        activations=("swiglu",),
        rope=False,
    ),
}  # fmt: skip
