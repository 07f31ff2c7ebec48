"""Which tensors get more or fewer bits than the others: the tables, and nothing else.

They are those of llama.cpp (src/llama-quant.cpp), so that a file made here has the same format for the same tensor.
``choose`` reads them. The first rule that fits decides; where none fits, the tensor gets the file type's own format.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AFTER", "FALLBACKS", "KEPT", "KINDS", "NEED_IMATRIX", "RULES", "Rule"]


@dataclass(frozen=True)
class Rule:
    """``file_types`` and ``tensors`` (kinds of ``KINDS``) are any of these words, "*" all; of ``where`` all must hold.

    Conditions: ``choose.CONDITIONS``. ``format`` "=" is the file type's own.
    """

    file_types: str
    tensors: str
    format: str
    where: str = ""


# Kind of a tensor by its name: the first that is found in it. "output" and "token_embd" are whole names. A tied
# embedding, which is the output, too, counts as output.
KINDS = (
    ("attn_qkv", "attn_qkv.weight"),
    ("attn_kv_b", "attn_kv_b.weight"),
    ("attn_v", "attn_v.weight"),
    ("attn_k", "attn_k.weight"),
    ("attn_q", "attn_q.weight"),
    ("attn_output", "attn_output.weight"),
    ("ffn_up", "ffn_up"),
    ("ffn_gate", "ffn_gate"),
    ("ffn_down", "ffn_down"),
)

_LOW = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M"
_VALUES = "attn_v attn_qkv attn_kv_b"

RULES = (
    # The logits: few bits there are felt everywhere.
    Rule("MXFP4_MOE", "output", "Q8_0"),
    Rule("*", "output", "Q8_0", "falcon"),
    Rule("*", "output", "Q8_0", "partial_block"),
    Rule(f"{_LOW} IQ3_XXS", "output", "Q5_K"),
    Rule("Q8_0", "output", "Q8_0"),
    Rule("*", "output", "Q6_K"),
    # MXFP4 is for experts, which were trained for it.
    Rule("MXFP4_MOE", "*", "MXFP4", "experts_tensor"),
    Rule("MXFP4_MOE", "*", "Q8_0"),
    # An embedding of its own is only looked up.
    Rule("IQ2_XXS IQ2_XS IQ1_S IQ1_M", "token_embd", "Q2_K"),
    Rule("IQ2_S IQ2_M IQ3_XXS", "token_embd", "IQ3_S"),
    Rule("TQ1_0 TQ2_0", "token_embd", "Q4_K"),
    Rule("*", "token_embd", "="),
    # Below 3 bits.
    Rule(_LOW, _VALUES, "Q4_K", "gqa_4"),
    Rule(_LOW, _VALUES, "Q4_K", "experts_4"),
    Rule("IQ2_S IQ2_M", _VALUES, "IQ3_S"),
    Rule(_LOW, _VALUES, "Q2_K"),
    Rule(_LOW, "attn_k", "Q4_K", "experts_8"),
    Rule("IQ2_S IQ2_M", "ffn_down", "IQ3_S", "among_first_eighth"),
    Rule(_LOW, "ffn_down", "Q2_K", "among_first_eighth"),
    Rule(_LOW, "attn_output", "Q5_K", "experts_8"),
    Rule("IQ1_S IQ1_M", "attn_output", "IQ2_XXS"),
    Rule("IQ2_S IQ2_M", "attn_output", "IQ3_S"),
    Rule(_LOW, "*", "="),
    # Values: a small tensor that several heads share, and all of attention goes through it.
    Rule("*", _VALUES, "Q8_0", "experts_8"),
    Rule("Q2_K Q2_K_S IQ3_XXS IQ3_XS IQ3_S", _VALUES, "Q4_K", "gqa_4"),
    Rule("Q2_K", _VALUES, "Q3_K"),
    Rule("IQ3_XXS", _VALUES, "IQ3_S", "no_imatrix"),
    Rule("IQ3_M", _VALUES, "Q4_K"),
    Rule("Q3_K_M", _VALUES, "Q5_K", "first_2"),
    Rule("Q3_K_M", _VALUES, "Q4_K"),
    Rule("Q3_K_L", _VALUES, "Q5_K"),
    Rule("IQ4_NL IQ4_XS", _VALUES, "Q5_K", "gqa_4"),
    Rule("Q4_K_M Q5_K_M", _VALUES, "Q6_K", "more_bits"),
    Rule("Q4_K_S", _VALUES, "Q5_K", "first_4"),
    # Keys and queries.
    Rule("*", "attn_k", "Q8_0", "experts_8"),
    Rule("IQ3_XS", "attn_k attn_q", "IQ3_XXS"),
    Rule("IQ3_XXS", "attn_k attn_q", "IQ2_S"),
    # The way down of the MLP: its inputs have outliers, most of all in the first layers.
    Rule("Q2_K", "ffn_down", "Q3_K"),
    Rule("Q2_K_S", "ffn_down", "Q4_K", "first_eighth"),
    Rule("IQ3_XXS", "ffn_down", "Q4_K", "no_imatrix first_eighth"),
    Rule("IQ3_XXS", "ffn_down", "Q3_K", "no_imatrix"),
    Rule("Q3_K_M", "ffn_down", "Q5_K", "first_sixteenth"),
    Rule("Q3_K_M", "ffn_down", "Q4_K", "not_falcon"),
    Rule("Q3_K_M", "ffn_down", "Q4_K", "more_bits"),
    Rule("IQ3_M", "ffn_down", "Q4_K", "first_eighth"),
    Rule("IQ3_M", "ffn_down", "Q4_K", "experts_8 more_bits"),
    Rule("Q3_K_L", "ffn_down", "Q4_K", "falcon"),
    Rule("Q3_K_L", "ffn_down", "Q5_K"),
    Rule("Q4_K_M", "ffn_down", "Q6_K", "falcon first_sixteenth"),
    Rule("Q4_K_M", "ffn_down", "Q5_K", "falcon more_bits"),
    Rule("Q4_K_M", "ffn_down", "Q6_K", "not_falcon more_bits"),
    Rule("Q5_K_M", "ffn_down", "Q6_K", "more_bits"),
    Rule("IQ4_NL IQ4_XS", "ffn_down", "Q5_K", "no_imatrix first_eighth"),
    Rule("Q4_K_S", "ffn_down", "Q5_K", "not_falcon first_eighth"),
    Rule("Q4_0", "ffn_down", "Q4_1", "imatrix first_eighth"),
    Rule("Q5_0", "ffn_down", "Q5_1", "imatrix first_eighth"),
    # The way out of attention.
    Rule("Q3_K_L", "attn_output", "Q4_K", "falcon"),
    Rule("*", "attn_output", "=", "falcon"),
    Rule(
        "Q2_K IQ3_XS IQ3_XXS Q3_K_S Q3_K_M IQ4_NL Q4_K_S Q4_K_M IQ3_S IQ3_M IQ4_XS", "attn_output", "Q5_K", "experts_8"
    ),
    Rule("*", "attn_output", "=", "experts_8"),
    Rule("Q2_K", "attn_output", "Q3_K"),
    Rule("IQ3_XXS", "attn_output", "IQ3_S"),
    Rule("Q3_K_M IQ3_M", "attn_output", "Q4_K"),
    Rule("Q3_K_L", "attn_output", "Q5_K"),
    # The middle three quarters of the MLPs.
    Rule("IQ3_XS", "ffn_gate ffn_up", "IQ3_XXS", "middle"),
)

# What is then made of a format that a rule gave: file types, kinds, format, better format, condition. In models like
# Llama 70B the values are an eighth of the queries, so more bits for them cost next to nothing.
AFTER = tuple(
    ("Q2_K Q2_K_S Q3_K_S Q3_K_M IQ3_XXS IQ3_XS IQ3_S IQ3_M Q4_K_S Q4_K_M", _VALUES, format, "Q5_K", "llama_70b")
    for format in ("Q3_K", "Q4_K")
)

# A row that is not whole blocks of the format gets another format; where that does not fit either, F16.
FALLBACKS = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    "TQ1_0": "Q4_0",
    "TQ2_0": "Q4_0",
    "IQ1_S": "IQ4_NL",
    "IQ1_M": "IQ4_NL",
    "IQ2_XXS": "IQ4_NL",
    "IQ2_XS": "IQ4_NL",
    "IQ2_S": "IQ4_NL",
    "IQ3_XXS": "IQ4_NL",
    "IQ3_S": "IQ4_NL",
    "IQ4_XS": "IQ4_NL",
}

# Formats that are of no use without an importance matrix, except for the embedding and the output; "*" in all files.
NEED_IMATRIX = {
    "IQ1_S": "*",
    "IQ1_M": "*",
    "IQ2_XXS": "*",
    "IQ2_XS": "*",
    "IQ2_S": "*",
    "IQ3_XXS": "*",
    "Q2_K": "Q2_K_S",
}

# Matrices that stay as they are, by a part of their name: small, or looked up, or very sensitive. So does all that
# has one dimension, and whatever's name does not end in "weight".
KEPT = (
    "_norm.weight",
    "ffn_gate_inp.weight",  # routers
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "position_embd.weight",
    "token_types.weight",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    # parts of models that see and hear
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
)
