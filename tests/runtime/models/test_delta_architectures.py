"""What files of models with the delta rule may hold besides what the golden models do, and what is refused by name."""

import pytest
import torch
from support.memory_checkpoint import FFN, HIDDEN, VOCAB, InMemory, Tensors
from support.paged import rand

from gristmill.kernels import open_ops
from gristmill.runtime.config import Metadata
from gristmill.runtime.errors import UnsupportedModel
from gristmill.runtime.kv_cache import KVCache
from gristmill.runtime.models import build_model
from gristmill.runtime.step import Forward, Span
from gristmill.runtime.weights import Weights

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
KEY_HEADS, VALUE_HEADS, DIM, WIDTH, EXPERTS = 2, 6, 8, 4, 3
KEYS, VALUES, KV_HEADS, HEAD_DIM = KEY_HEADS * DIM, VALUE_HEADS * DIM, 2, 16
METADATA = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": HIDDEN,
    "feed_forward_length": FFN,
    "attention.head_count": 4,
    "attention.head_count_kv": KV_HEADS,
    "attention.key_length": HEAD_DIM,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": 8,
    "full_attention_interval": 2,
    "ssm.inner_size": VALUES,
    "ssm.conv_kernel": WIDTH,
    "ssm.state_size": DIM,
    "ssm.time_step_rank": VALUE_HEADS,
    "ssm.group_count": KEY_HEADS,
}
SECTIONS = {"rope.dimension_sections": [2, 1, 1, 0]}
WITH_EXPERTS = {
    "expert_count": EXPERTS,
    "expert_used_count": 2,
    "expert_feed_forward_length": FFN,
    "expert_shared_feed_forward_length": FFN,
}
DELTA = {
    "attn_qkv.weight": (2 * KEYS + VALUES, HIDDEN),
    "attn_gate.weight": (VALUES, HIDDEN),
    "ssm_conv1d.weight": (2 * KEYS + VALUES, WIDTH),
    "ssm_dt.bias": (VALUE_HEADS,),
    "ssm_a": (VALUE_HEADS,),
    "ssm_ba.weight": (2 * VALUE_HEADS, HIDDEN),
    "ssm_norm.weight": (DIM,),
    "ssm_out.weight": (HIDDEN, VALUES),
}
ATTENTION = {
    "attn_q.weight": (2 * 4 * HEAD_DIM, HIDDEN),
    "attn_k.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
    "attn_v.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
    "attn_q_norm.weight": (HEAD_DIM,),
    "attn_k_norm.weight": (HEAD_DIM,),
    "attn_output.weight": (HIDDEN, 4 * HEAD_DIM),
}
NORMS = {"attn_norm.weight": (HIDDEN,), "post_attention_norm.weight": (HIDDEN,)}
MLP = {"ffn_gate.weight": (FFN, HIDDEN), "ffn_up.weight": (FFN, HIDDEN), "ffn_down.weight": (HIDDEN, FFN)}
MOE = {
    "ffn_gate_inp.weight": (EXPERTS, HIDDEN),
    "ffn_gate_exps.weight": (EXPERTS, FFN, HIDDEN),
    "ffn_up_exps.weight": (EXPERTS, FFN, HIDDEN),
    "ffn_down_exps.weight": (EXPERTS, HIDDEN, FFN),
    "ffn_gate_inp_shexp.weight": (HIDDEN,),
    "ffn_gate_shexp.weight": (FFN, HIDDEN),
    "ffn_up_shexp.weight": (FFN, HIDDEN),
    "ffn_down_shexp.weight": (HIDDEN, FFN),
}


def tensors_of(*layers):
    tensors = Tensors()
    for i, layer in enumerate(layers):
        for name, shape in layer.items():
            tensors.add(f"blk.{i}.{name}", *shape)
        if f"blk.{i}.ssm_a" in tensors:
            tensors[f"blk.{i}.ssm_a"] = -tensors[f"blk.{i}.ssm_a"].exp()
    return tensors


def qwen3next():
    return tensors_of(NORMS | DELTA | MOE, NORMS | ATTENTION | MOE)


def apart(tensors, order):
    """One matrix for beta, one for alpha, their rows and all else that value heads have in the order ``order``."""
    heads = torch.arange(VALUES).view(VALUE_HEADS, DIM)[order].flatten()
    both = tensors.pop("blk.0.ssm_ba.weight").view(KEY_HEADS, 2, -1, HIDDEN)
    for i, name in enumerate(("beta", "alpha")):
        tensors[f"blk.0.ssm_{name}.weight"] = both[:, i].reshape(VALUE_HEADS, HIDDEN)[order]
    for name in ("attn_qkv.weight", "ssm_conv1d.weight"):
        tensors[f"blk.0.{name}"][2 * KEYS :] = tensors[f"blk.0.{name}"][2 * KEYS :][heads]
    tensors["blk.0.attn_gate.weight"] = tensors["blk.0.attn_gate.weight"][heads]
    tensors["blk.0.ssm_out.weight"] = tensors["blk.0.ssm_out.weight"][:, heads]
    for name in ("ssm_dt.bias", "ssm_a"):
        tensors[f"blk.0.{name}"] = tensors[f"blk.0.{name}"][order]
    return tensors


def qwen35moe():
    return apart(qwen3next(), torch.arange(VALUE_HEADS).view(KEY_HEADS, -1).t().flatten())


def qwen35():
    tensors = qwen35moe() | tensors_of(MLP, MLP)
    return {name: x for name, x in tensors.items() if not name.endswith(("exps.weight", "shexp.weight", "inp.weight"))}


def kimi():
    size, rank, turning = 4 * DIM, 12, 4
    delta = {f"attn_{x}.weight": (size, HIDDEN) for x in "qkv"}
    delta |= {f"ssm_conv1d_{x}.weight": (size, 1, WIDTH) for x in "qkv"}
    for x in "fg":
        delta |= {f"ssm_{x}_a.weight": (DIM, HIDDEN), f"ssm_{x}_b.weight": (size, DIM)}
    delta |= {"ssm_beta.weight": (4, HIDDEN), "ssm_a": (4, 1), "ssm_dt.bias": (size,), "ssm_norm.weight": (DIM,)}
    delta |= {"attn_output.weight": (HIDDEN, size)}
    latent = {
        "attn_q.weight": (4 * (HEAD_DIM + turning), HIDDEN),
        "attn_kv_a_mqa.weight": (rank + turning, HIDDEN),
        "attn_kv_a_norm.weight": (rank,),
        "attn_kv_b.weight": (4 * 2 * HEAD_DIM, rank),
        "attn_output.weight": (HIDDEN, 4 * HEAD_DIM),
    }
    norms = {"attn_norm.weight": (HIDDEN,), "ffn_norm.weight": (HIDDEN,)}
    moe = {k: v for k, v in MOE.items() if "inp_shexp" not in k} | {"exp_probs_b.bias": (EXPERTS,)}
    return tensors_of(norms | delta | MLP, norms | latent | moe)


KIMI = {
    "attention.head_count_kv": [0, 4],
    "attention.key_length": HEAD_DIM + 4,
    "attention.value_length": HEAD_DIM,
    "attention.kv_lora_rank": 12,
    "rope.dimension_count": 4,
    "kda.head_dim": DIM,
    "leading_dense_block_count": 1,
    "expert_gating_func": 2,
}
FAMILIES = {
    "qwen3next": (METADATA | WITH_EXPERTS, qwen3next),
    "qwen35": (METADATA | SECTIONS, qwen35),
    "qwen35moe": (METADATA | SECTIONS | WITH_EXPERTS, qwen35moe),
    "kimi-linear": (METADATA | WITH_EXPERTS | KIMI, kimi),
}


def build(architecture, metadata, tensors, backend="reference"):
    checkpoint = InMemory(architecture, metadata, tensors)
    return build_model(Metadata(checkpoint.metadata), Weights(checkpoint, open_ops(backend)), 64)[0]


def logits(architecture, metadata, tensors, backend="reference"):
    network = build(architecture, metadata, tensors, backend)
    cache = KVCache.allocate(network.kept, 4, "f32", network.ops.device)
    return Forward(network, cache, 64)([Span(IDS, 0, [0, 1, 2, 3], all_logits=True)])


@pytest.mark.parametrize("family", FAMILIES)
def test_native_logits_are_those_of_the_reference(family):
    metadata, tensors = FAMILIES[family]
    expected = logits(family, metadata, tensors())
    assert expected.shape == (len(IDS), VOCAB)
    torch.testing.assert_close(logits(family, metadata, tensors(), "auto"), expected, rtol=1e-4, atol=1e-5)


def test_value_heads_lie_in_another_order_in_qwen35():
    """Neighbours share a key head in one, every second in the other."""
    expected = logits("qwen3next", METADATA | WITH_EXPERTS, qwen3next())
    torch.testing.assert_close(logits("qwen35moe", METADATA | SECTIONS | WITH_EXPERTS, qwen35moe()), expected)
    with_order_kept = apart(qwen3next(), torch.arange(VALUE_HEADS))
    assert not torch.allclose(logits("qwen35moe", METADATA | SECTIONS | WITH_EXPERTS, with_order_kept), expected)


def test_older_files_hold_queries_keys_values_and_gates_in_one_matrix_by_key_head():
    older = qwen3next()
    q, k, v = older.pop("blk.0.attn_qkv.weight").split([KEYS, KEYS, VALUES])
    gates = older.pop("blk.0.attn_gate.weight")
    older["blk.0.ssm_in.weight"] = torch.cat([x.view(KEY_HEADS, -1, HIDDEN) for x in (q, k, v, gates)], 1).flatten(0, 1)
    metadata = METADATA | WITH_EXPERTS
    torch.testing.assert_close(logits("qwen3next", metadata, older), logits("qwen3next", metadata, qwen3next()))


@pytest.mark.parametrize("family", ["qwen3next", "qwen35", "qwen35moe"])
def test_layers_that_guess_tokens_ahead_are_not_used(family):
    metadata, tensors = FAMILIES[family]
    expected = logits(family, metadata, tensors())
    longer = tensors() | {
        "blk.2.nextn.eh_proj.weight": rand(HIDDEN, 2 * HIDDEN),
        "blk.2.attn_norm.weight": rand(HIDDEN),
    }
    one_more = {"block_count": 3, "nextn_predict_layers": 1}
    for listed in ({}, {"attention.recurrent_layers": [1, 0, 0]}):
        assert torch.equal(logits(family, metadata | one_more | listed, longer), expected)


def test_the_size_of_dense_layers_may_be_left_out_where_all_have_experts():
    metadata, tensors = FAMILIES["qwen35moe"]
    without = {key: value for key, value in metadata.items() if key != "feed_forward_length"}
    assert torch.equal(logits("qwen35moe", without, tensors()), logits("qwen35moe", metadata, tensors()))
    with pytest.raises(UnsupportedModel, match=r"qwen35\.feed_forward_length: missing"):
        build("qwen35", {k: v for k, v in FAMILIES["qwen35"][0].items() if k != "feed_forward_length"}, qwen35())


def test_which_layers_have_states_may_be_listed():
    metadata = METADATA | WITH_EXPERTS
    swapped = tensors_of(NORMS | ATTENTION | MOE, NORMS | DELTA | MOE)
    network = build("qwen3next", metadata | {"attention.recurrent_layers": [0, 1]}, swapped)
    assert [bool(kept.states) for kept in network.kept] == [False, True]


@pytest.mark.parametrize(("family", "name"), [
    ("qwen3next", "blk.0.attn_qkv.weight"), ("qwen3next", "blk.0.attn_gate.weight"),
    ("qwen3next", "blk.0.ssm_conv1d.weight"), ("qwen3next", "blk.0.ssm_dt.bias"), ("qwen3next", "blk.0.ssm_a"),
    ("qwen3next", "blk.0.ssm_norm.weight"),
    ("qwen3next", "blk.1.attn_q_norm.weight"), ("qwen3next", "blk.1.post_attention_norm.weight"),
    ("qwen35", "blk.0.ssm_alpha.weight"), ("qwen35", "blk.0.ssm_out.weight"), ("qwen35", "blk.1.ffn_up.weight"),
    ("qwen35moe", "blk.0.ssm_beta.weight"), ("qwen35moe", "blk.1.ffn_down_exps.weight"),
    ("kimi-linear", "blk.0.ssm_f_b.weight"), ("kimi-linear", "blk.0.ssm_conv1d_k.weight"),
    ("kimi-linear", "blk.0.ssm_beta.weight"), ("kimi-linear", "blk.1.attn_kv_a_norm.weight"),
])  # fmt: skip
def test_a_missing_tensor_is_refused_by_name(family, name):
    metadata, tensors = FAMILIES[family]
    values = tensors()
    del values[name]
    with pytest.raises(UnsupportedModel, match=f"tensor {name}: missing"):
        build(family, metadata, values)


@pytest.mark.parametrize(("family", "key", "value", "message"), [
    ("qwen3next", "ssm.group_count", 4, r"qwen3next\.ssm\.group_count: 4 does not divide 6 heads"),
    ("qwen3next", "ssm.group_count", 3, r"blk\.0\.attn_qkv\.weight: expected shape \(96, 32\), got \(80, 32\)"),
    ("qwen3next", "ssm.inner_size", 64, r"ssm\.inner_size: expected 6 heads of 8 elements, got 64"),
    ("qwen3next", "ssm.state_size", None, r"qwen3next\.ssm\.state_size: missing"),
    ("qwen3next", "ssm.conv_kernel", 17, r"ssm\.conv_kernel: expected an integer from 2 to 16, got 17"),
    ("qwen3next", "expert_count", 0, r"qwen3next\.expert_count: expected experts, got 0"),
    ("qwen3next", "nextn_predict_layers", 2, r"nextn_predict_layers: expected an integer from 0 to 1, got 2"),
    ("qwen3next", "attention.recurrent_layers", [1], r"attention\.recurrent_layers: expected a list of 2 booleans"),
    ("qwen3next", "full_attention_interval", 0, r"full_attention_interval: expected an integer from 1"),
    ("qwen3next", "full_attention_interval", 1, r"tensor blk\.0\.attn_q\.weight: missing"),
    ("qwen35", "expert_count", 3, r"qwen35\.expert_count: 3 is not supported; supported: 0"),
    ("qwen35moe", "expert_count", 0, r"qwen35moe\.expert_count: expected experts, got 0"),
    ("qwen35", "rope.dimension_sections", [2, 0, 2, 0], r"dimension_sections: \[2, 0, 2, 0\] leave out some of 4"),
    ("qwen35", "rope.dimension_sections", [2, 1], r"rope\.dimension_sections: expected a list of 4 integers"),
    ("qwen35", "rope.dimension_sections", None, r"rope\.dimension_sections: missing"),
    ("kimi-linear", "kda.head_dim", None, r"kimi-linear\.kda\.head_dim: missing"),
    ("kimi-linear", "kda.head_dim", 16, r"blk\.0\.attn_q\.weight: expected shape \(64, 32\), got \(32, 32\)"),
    ("kimi-linear", "attention.head_count_kv", [4, 4], r"blk\.0\.attn_q\.weight: expected shape \(80, 32\)"),
    ("kimi-linear", "expert_count", 0, r"kimi-linear\.expert_count: expected experts, got 0"),
    ("kimi-linear", "expert_gating_func", 7, r"kimi-linear\.expert_gating_func: 7 is not supported"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused_by_name(family, key, value, message):
    metadata, tensors = FAMILIES[family]
    changed = {k: v for k, v in (metadata | {key: value}).items() if v is not None}
    with pytest.raises(UnsupportedModel, match=message):
        build(family, changed, tensors())
