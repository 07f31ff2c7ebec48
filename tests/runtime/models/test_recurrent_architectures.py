"""What files of recurrent models may hold besides what the golden models do, and what is refused by name."""

import pytest
import torch
from support.memory_checkpoint import FFN, GROUPS, HIDDEN, INNER, MAMBA, MAMBA2, RANK, STATE, VOCAB, InMemory, Tensors

from gristmill.kernels import open_ops
from gristmill.runtime.config import Metadata
from gristmill.runtime.embedding import Embedder
from gristmill.runtime.errors import UnsupportedModel
from gristmill.runtime.kv_cache import KVCache
from gristmill.runtime.models import build_model
from gristmill.runtime.step import Forward, Span
from gristmill.runtime.weights import Weights

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]


def build(architecture, metadata, tensors, backend="reference"):
    checkpoint = InMemory(architecture, metadata, tensors)
    return build_model(Metadata(checkpoint.metadata), Weights(checkpoint, open_ops(backend)), 64)


def logits(architecture, metadata, tensors, backend="reference"):
    network, _ = build(architecture, metadata, tensors, backend)
    cache = KVCache.allocate(network.kept, 4, "f32", network.ops.device)
    return Forward(network, cache, 64)([Span(IDS, 0, [0, 1, 2, 3], all_logits=True)])


def mamba():
    return Tensors().layer(0, "norm", "mamba").layer(1, "norm", "mamba")


def mamba2():
    return Tensors().layer(0, "norm", "mamba2").layer(1, "norm", "mamba2")


def jamba():
    return Tensors().layer(0, "norm", "mamba", "ffn_norm", "mlp").layer(1, "norm", "attention", "ffn_norm", "mlp")


def granite():
    return Tensors().layer(0, "norm", "mamba2", "ffn_norm", "mlp").layer(1, "norm", "attention", "ffn_norm", "mlp")


def nemotron():
    return Tensors().layer(0, "norm", "mamba2").layer(1, "norm", "attention").layer(2, "norm", "plain_mlp")


def falcon():
    both = ("norm", "attention", "mamba2", "ffn_norm", "mlp")
    return Tensors().layer(0, *both).layer(1, *both)


def lfm2():
    tensors = Tensors().layer(0, "norm", "conv", "ffn_norm", "mlp").layer(1, "norm", "attention", "ffn_norm", "mlp")
    tensors |= {f"blk.1.attn_{x}_norm.weight": torch.ones(16) for x in "qk"}
    tensors["token_embd_norm.weight"] = tensors.pop("output_norm.weight")
    return tensors


NEMOTRON = {"block_count": 3, "attention.head_count_kv": [0, 2, 0], "feed_forward_length": [0, 0, FFN]}
FAMILIES = {
    "mamba": (MAMBA, mamba),
    "mamba2": (MAMBA2, mamba2),
    "jamba": (MAMBA, jamba),
    "granitehybrid": (MAMBA2, granite),
    "nemotron_h": (MAMBA2 | NEMOTRON, nemotron),
    "falcon-h1": (MAMBA2 | {"attention.head_count_kv": 2}, falcon),
    "lfm2": (MAMBA2, lfm2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_native_logits_are_those_of_the_reference(family):
    metadata, tensors = FAMILIES[family]
    expected = logits(family, metadata, tensors())
    assert expected.shape == (len(IDS), VOCAB)
    torch.testing.assert_close(logits(family, metadata, tensors(), "auto"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("family", "name"), [
    ("mamba", "blk.1.ssm_x.weight"), ("mamba", "blk.0.ssm_a"), ("mamba", "blk.0.ssm_conv1d.weight"),
    ("mamba2", "blk.1.ssm_norm.weight"), ("mamba2", "blk.0.ssm_dt.bias"), ("jamba", "blk.0.ssm_d"),
    ("granitehybrid", "blk.0.ssm_norm.weight"), ("nemotron_h", "blk.0.ssm_out.weight"),
    ("falcon-h1", "blk.1.ssm_in.weight"), ("lfm2", "blk.0.shortconv.conv.weight"), ("lfm2", "blk.1.attn_q_norm.weight"),
    ("lfm2", "token_embd_norm.weight"),
])  # fmt: skip
def test_a_missing_tensor_is_refused_by_name(family, name):
    metadata, tensors = FAMILIES[family]
    values = tensors()
    del values[name]
    with pytest.raises(UnsupportedModel, match=f"tensor {name}: missing"):
        build(family, metadata, values)


@pytest.mark.parametrize(("family", "key", "value", "message"), [
    ("mamba", "ssm.inner_size", 48, r"blk\.0\.ssm_in\.weight: expected shape \(96, 32\)"),
    ("mamba", "ssm.conv_kernel", 17, r"mamba\.ssm\.conv_kernel: expected an integer from 2 to 16, got 17"),
    ("mamba", "ssm.state_size", None, r"mamba\.ssm\.state_size: missing"),
    ("mamba", "ssm.dt_b_c_rms", 2, r"mamba\.ssm\.dt_b_c_rms: expected a boolean"),
    ("mamba2", "ssm.time_step_rank", 3, r"ssm\.time_step_rank: 3 heads do not divide the inner size 64"),
    ("mamba2", "ssm.group_count", 3, r"ssm\.group_count: 3 does not divide 4 heads"),
    ("mamba2", "ssm.group_count", 0, r"ssm\.group_count: expected an integer from 1"),
    ("mamba2", "ssm.group_count", 1, r"blk\.0\.ssm_in\.weight: expected shape"),
    ("granitehybrid", "attention.head_count_kv", [0, 2, 2], "expected a list of 2 integers"),
    ("granitehybrid", "attention.head_count_kv", [2, 2], r"tensor blk\.0\.attn_q\.weight: missing"),
    ("nemotron_h", "expert_count", 4, r"nemotron_h\.expert_count: 4 is not supported"),
    ("lfm2", "shortconv.l_cache", 3, r"blk\.0\.shortconv\.conv\.weight: expected shape \(32, 3\), got \(32, 4\)"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused_by_name(family, key, value, message):
    metadata, tensors = FAMILIES[family]
    changed = {k: v for k, v in (metadata | {key: value}).items() if v is not None}
    with pytest.raises(UnsupportedModel, match=message):
        build(family, changed, tensors())


def test_norms_without_weights_are_norms_with_ones():
    ones = {f"ssm_{x}_norm.weight": torch.ones(n) for x, n in (("dt", RANK), ("b", STATE), ("c", STATE))}
    weighted = mamba() | {f"blk.{i}.{name}": one for i in range(2) for name, one in ones.items()}
    plain = logits("mamba", MAMBA | {"ssm.dt_b_c_rms": True}, mamba())
    assert torch.equal(plain, logits("mamba", MAMBA, weighted))
    assert not torch.allclose(plain, logits("mamba", MAMBA, mamba()))


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_the_norm_of_one_group_may_be_stored_without_the_groups_dimension(backend):
    metadata = MAMBA2 | {"ssm.group_count": 1, "ssm.state_size": GROUPS * STATE}
    found = []
    for shape in ((1, INNER), (INNER,)):
        tensors = mamba2()
        for i in range(2):
            tensors[f"blk.{i}.ssm_norm.weight"] = tensors[f"blk.{i}.ssm_norm.weight"].reshape(shape)
        found.append(logits("mamba2", metadata, tensors, backend))
    assert torch.equal(*found)
    with pytest.raises(UnsupportedModel, match=r"blk\.0\.ssm_norm\.weight: expected shape \(1, 64\), got \(2, 32\)"):
        build("mamba2", metadata, mamba2())


@pytest.mark.parametrize(("family", "layers"), [("jamba", [1]), ("granitehybrid", [0, 1])])
def test_a_single_expert_is_as_a_plain_feed_forward_layer(family, layers):
    metadata, make = FAMILIES[family]
    dense, sparse = make(), make()
    for i in layers:
        sparse.add(f"blk.{i}.ffn_gate_inp.weight", 1, HIDDEN)
        for part in ("gate", "up", "down"):
            sparse[f"blk.{i}.ffn_{part}_exps.weight"] = sparse.pop(f"blk.{i}.ffn_{part}.weight")[None]
    experts = metadata | {"expert_count": 1, "expert_used_count": 1}
    torch.testing.assert_close(logits(family, experts, sparse), logits(family, metadata, dense))


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("family", ["mamba2", "jamba", "lfm2"])
def test_texts_become_vectors_whatever_they_are_embedded_with(family, backend):
    metadata, make = FAMILIES[family]
    network, pooling = build(family, metadata | {"pooling_type": 1}, make(), backend)
    texts = [IDS, IDS[::-1] * 4, [7]]
    together = Embedder(network, pooling, token_budget=512)(texts)
    for vector, text in zip(together, texts, strict=True):
        in_pieces = Embedder(network, pooling, token_budget=16)([text])
        torch.testing.assert_close(in_pieces[0], vector)
        assert torch.equal(Embedder(network, pooling)([text])[0], vector)
