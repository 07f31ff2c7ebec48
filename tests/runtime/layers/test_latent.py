"""Latent attention against its plain formula, whichever way a file holds its matrices, and YaRN as DeepSeek has it."""

import math

import pytest
import torch
from support.in_memory import InMemory
from support.paged import rand

from gristmill.kernels import open_ops
from gristmill.kernels.layout import TokenLayout
from gristmill.runtime.batch import Batch
from gristmill.runtime.config import Metadata, read_decoder_config
from gristmill.runtime.kv_cache import PAGE_SIZE, KVCache
from gristmill.runtime.layers import LatentAttention, NoRope, Rope, Step, read_latent_config
from gristmill.runtime.layers.latent import LatentConfig
from gristmill.runtime.models import deepseek2
from gristmill.runtime.weights import Weights

HEADS, HIDDEN, N, SCALE = 3, 64, 21, 0.3
SIZES = LatentConfig(rank=32, query_rank=48, still_dim=16, turning_dim=8, value_dim=12)
KEYS = {
    "general.architecture": "deepseek2",
    "deepseek2.attention.head_count": HEADS,
    "deepseek2.embedding_length": HIDDEN,
    "deepseek2.attention.key_length": 24,
    "deepseek2.attention.value_length": 12,
    "deepseek2.attention.q_lora_rank": 48,
    "deepseek2.attention.kv_lora_rank": 32,
    "deepseek2.attention.layer_norm_rms_epsilon": 1e-5,
    "deepseek2.rope.dimension_count": 8,
    "deepseek2.block_count": 1,
    "deepseek2.feed_forward_length": 8,
    "deepseek2.context_length": 64,
}


def tensors(*, whole, short_queries):
    p = "blk.0.attn_"
    k_b, v_b = rand(HEADS, 32, 16, seed=1) / 6, rand(HEADS, 12, 32, seed=2) / 6
    values = {
        p + "kv_a_mqa.weight": rand(40, HIDDEN, seed=3) / 8,
        p + "kv_a_norm.weight": rand(32, seed=4),
        p + "output.weight": rand(HIDDEN, HEADS * 12, seed=5) / 6,
    }
    if short_queries:
        values[p + "q_a.weight"] = rand(48, HIDDEN, seed=6) / 8
        values[p + "q_a_norm.weight"] = rand(48, seed=7)
        values[p + "q_b.weight"] = rand(HEADS * 24, 48, seed=8) / 7
    else:
        values[p + "q.weight"] = rand(HEADS * 24, HIDDEN, seed=9) / 8
    if whole:
        return values | {p + "kv_b.weight": torch.cat((k_b.transpose(1, 2), v_b), dim=1).reshape(-1, 32)}
    return values | {p + "k_b.weight": k_b, p + "v_b.weight": v_b}


def rms(x, weight):
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), weight, 1e-5)


def turned(x, turns):
    """x (n, heads, 8): pairs of neighbours by the angles position * 10000^(-2i / 8)."""
    if not turns:
        return x
    angles = torch.arange(N)[:, None] * 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    pairs = torch.view_as_complex(x.reshape(*x.shape[:2], 4, 2).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)[:, None]).flatten(2)


def plain(values, x, turns):
    """Keys and values of every head, made from the short vector."""
    t = {name.removeprefix("blk.0.attn_").removesuffix(".weight"): value for name, value in values.items()}
    q = x @ t["q"].T if "q" in t else rms(x @ t["q_a"].T, t["q_a_norm"]) @ t["q_b"].T
    q_still, q_turning = q.reshape(N, HEADS, 24).split((16, 8), dim=2)
    short, shared = (x @ t["kv_a_mqa"].T).split((32, 8), dim=1)
    heads = torch.einsum("nr,hdr->nhd", rms(short, t["kv_a_norm"]), t["kv_b"].reshape(HEADS, 28, 32))
    scores = torch.einsum("nhd,mhd->hnm", q_still, heads[..., :16])
    scores = scores + torch.einsum("nhd,md->hnm", turned(q_turning, turns), turned(shared[:, None], turns)[:, 0])
    scores = (scores * SCALE).masked_fill(torch.ones(N, N).triu(1).bool(), -torch.inf)
    return torch.einsum("hnm,mhd->nhd", scores.softmax(-1), heads[..., 16:]).reshape(N, -1) @ t["output"].T


def layer_of(values, backend, turns):
    weights, meta = Weights(InMemory(values, "deepseek2"), open_ops(backend)), Metadata(KEYS)
    config = read_decoder_config(meta, interleaved_rope=True)
    latent = read_latent_config(meta, config)
    assert latent == SIZES
    rope = Rope(weights.ops, config.rope) if turns else NoRope(weights.ops)
    return LatentAttention(weights, config, latent, 0, rope=rope, scale=SCALE)


def run(layer, x, kv_type="f32"):
    cache = KVCache.allocate([layer.kept], 2, kv_type, layer.ops.device)
    numbers = torch.arange(N)
    tables = [torch.tensor(t, dtype=torch.int32) for t in ([0, N], [[0, 1]], [N])]
    layout = TokenLayout(numbers, numbers, *tables, PAGE_SIZE)
    return layer(x, Step(Batch(numbers, numbers, layout), cache), None)


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("short_queries", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_both_forms_follow_the_formula(whole, short_queries, turns, backend):
    x = rand(N, HIDDEN, seed=11)
    layer = layer_of(tensors(whole=whole, short_queries=short_queries), backend, turns)
    expected = plain(tensors(whole=True, short_queries=short_queries), x, turns)
    torch.testing.assert_close(run(layer, x), expected, rtol=1e-4, atol=1e-5)


def test_matrices_apart_keep_one_short_vector_for_all_heads():
    apart, whole = (layer_of(tensors(whole=w, short_queries=True), "reference", True).kept.kv for w in (False, True))
    assert (apart.n_heads, apart.key_dim, apart.value_dim) == (1, 32 + 8, 0)
    assert (whole.n_heads, whole.key_dim, whole.value_dim) == (HEADS, 24, 12)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_the_short_vector_may_be_kept_in_half_precision(backend):
    x, values = rand(N, HIDDEN, seed=11), tensors(whole=False, short_queries=True)
    exact = run(layer_of(values, backend, True), x)
    torch.testing.assert_close(run(layer_of(values, backend, True), x, "f16"), exact, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize(
    ("architecture", "mscale_all_dim", "turning", "scores"),
    [
        ("deepseek2", 1.0, 1.0, 1 + 0.1 * math.log(40)),
        ("deepseek2", 0.707, 1.0, 1 + 0.0707 * math.log(40)),  # DeepSeek-V2-Lite: its mscale is 0.707 as well
        ("mistral4", 1.0, 1.0, 1 + 0.1 * math.log(40)),
        ("mistral4", 0.5, (1 + 0.1 * math.log(40)) / (1 + 0.05 * math.log(40)), 1 + 0.1 * math.log(40)),
    ],
)
def test_yarn_stretches_what_turns_and_all_scores(architecture, mscale_all_dim, turning, scores):
    keys = {name.replace("deepseek2", architecture): value for name, value in KEYS.items()}
    keys |= {
        "general.architecture": architecture,
        f"{architecture}.rope.scaling.type": "yarn",
        f"{architecture}.rope.scaling.factor": 40.0,
        f"{architecture}.rope.scaling.original_context_length": 4096,
        f"{architecture}.rope.scaling.yarn_log_multiplier": 0.1 * mscale_all_dim,
    }
    meta = Metadata(keys)
    config, stretch = deepseek2.stretched(meta, read_decoder_config(meta, interleaved_rope=True))
    assert Rope(open_ops("reference"), config.rope).magnitude == pytest.approx(turning)
    assert stretch == pytest.approx(scores**2)


def test_without_yarn_nothing_is_stretched():
    meta = Metadata(KEYS)
    config = read_decoder_config(meta)
    assert deepseek2.stretched(meta, config) == (config, 1.0)
