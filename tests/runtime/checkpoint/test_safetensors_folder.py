"""A Hugging Face folder opens as if it were a GGUF file."""

import math

import pytest
import torch
from support.golden import unpacked
from support.hf_folder import LLAMA, MIXTRAL, llama_tensors, mixtral_tensors, write_folder, write_json

from gristmill.runtime.checkpoint import open_checkpoint, read_metadata
from gristmill.runtime.errors import InvalidFile, UnsupportedModel

LAYER = "model.layers.0."


def values(checkpoint, name):
    info = checkpoint.tensors[name]
    tensor = checkpoint.tensor(name)
    assert tensor.shape == info.byte_shape
    assert tensor.numel() == info.n_bytes
    assert bytes(checkpoint.raw(name)) == tensor.numpy().tobytes()
    return info.format.decode(tensor)


def rows_of_pairs(rows, n_heads):
    """GGUF's order of q and k, written out: halves of each head interleaved."""
    half = len(rows) // n_heads // 2
    order = [h * 2 * half + i + j * half for h in range(n_heads) for i in range(half) for j in range(2)]
    return rows[order]


def test_names_values_and_keys_are_those_of_gguf(tmp_path):
    tensors = llama_tensors()
    with open_checkpoint(write_folder(tmp_path / "m")) as checkpoint:
        assert checkpoint.kind == "safetensors"
        assert set(checkpoint.tensors) == {
            "token_embd.weight",
            "output_norm.weight",
            "output.weight",
            *(f"blk.0.{name}.weight" for name in ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output")),
            *(f"blk.0.{name}.weight" for name in ("ffn_norm", "ffn_gate", "ffn_up", "ffn_down")),
        }
        assert values(checkpoint, "token_embd.weight").equal(tensors["model.embed_tokens.weight"])
        assert values(checkpoint, "blk.0.ffn_down.weight").equal(tensors[f"{LAYER}mlp.down_proj.weight"])
        q, k = tensors[f"{LAYER}self_attn.q_proj.weight"], tensors[f"{LAYER}self_attn.k_proj.weight"]
        assert values(checkpoint, "blk.0.attn_q.weight").equal(rows_of_pairs(q, 2))
        assert values(checkpoint, "blk.0.attn_k.weight").equal(rows_of_pairs(k, 1))
        assert checkpoint.metadata == {
            "general.architecture": "llama",
            "general.type": "model",
            "general.file_type": 0,
            "llama.block_count": 1,
            "llama.context_length": 64,
            "llama.embedding_length": 8,
            "llama.feed_forward_length": 12,
            "llama.attention.head_count": 2,
            "llama.attention.head_count_kv": 1,
            "llama.attention.key_length": 4,
            "llama.attention.value_length": 4,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "llama.rope.dimension_count": 4,
            "llama.rope.freq_base": 10000.0,
            "llama.vocab_size": 16,
        }
        assert read_metadata(tmp_path / "m") == {
            k: v for k, v in checkpoint.metadata.items() if k != "general.file_type"
        }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_keep_their_type_and_lie_in_the_mapped_file(tmp_path, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in llama_tensors().items()}
    with open_checkpoint(write_folder(tmp_path / "m", tensors=tensors)) as checkpoint:
        assert values(checkpoint, "output.weight").equal(tensors["lm_head.weight"].float())
        assert checkpoint.tensor("output.weight").data_ptr() == checkpoint.tensor("output.weight").data_ptr()
        q = rows_of_pairs(tensors[f"{LAYER}self_attn.q_proj.weight"].float(), 2)
        assert values(checkpoint, "blk.0.attn_q.weight").equal(q)


def test_shards_read_as_one_file_does(tmp_path):
    with (
        open_checkpoint(write_folder(tmp_path / "one")) as one,
        open_checkpoint(write_folder(tmp_path / "three", n_shards=3)) as three,
    ):
        assert three.metadata == one.metadata
        assert set(three.tensors) == set(one.tensors)
        assert all(values(three, name).equal(values(one, name)) for name in one.tensors)


def test_tensors_outlive_close(tmp_path):
    checkpoint = open_checkpoint(write_folder(tmp_path / "m"))
    tensor = checkpoint.tensor("output.weight")
    checkpoint.close()
    checkpoint.close()
    assert tensor.numpy().tobytes() == llama_tensors()["lm_head.weight"].numpy().tobytes()


def test_a_tied_output_is_left_out(tmp_path):
    with open_checkpoint(write_folder(tmp_path / "m", LLAMA | {"tie_word_embeddings": True})) as checkpoint:
        assert "output.weight" not in checkpoint.tensors


def test_biases_of_q_are_reordered_like_its_rows(tmp_path):
    bias = torch.arange(8.0)
    tensors = llama_tensors() | {f"{LAYER}self_attn.q_proj.bias": bias}
    with open_checkpoint(write_folder(tmp_path / "m", tensors=tensors)) as checkpoint:
        assert values(checkpoint, "blk.0.attn_q.bias").tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


# ---------------------------------------------------------------------------------------------------------------
# The golden models, turned into folders by hand, must come back as they were.

COMMON = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "block_sparse_moe.gate",
}  # fmt: skip
GEMMA = COMMON | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
EXPERTS = {"ffn_gate_exps": "w1", "ffn_down_exps": "w2", "ffn_up_exps": "w3"}
TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
GOLDEN = {
    "llama-dense": ("LlamaForCausalLM", COMMON, {}),
    "llama-moe": ("MixtralForCausalLM", COMMON, {"num_local_experts": 2, "num_experts_per_tok": 2}),
    "qwen2-dense": ("Qwen2ForCausalLM", COMMON, {"use_sliding_window": False, "sliding_window": 128}),
    "qwen3-dense": ("Qwen3ForCausalLM", COMMON, {}),
    "gemma2-dense": ("Gemma2ForCausalLM", GEMMA, {"hidden_activation": "gelu_pytorch_tanh", "sliding_window": 8}),
    "gemma3-dense": ("Gemma3ForCausalLM", GEMMA, {"hidden_activation": "gelu_pytorch_tanh", "sliding_window": 8}),
    "phi3-dense": ("Phi3ForCausalLM", COMMON | {"ffn_up": "mlp.gate_up_proj", "attn_qkv": "self_attn.qkv_proj"}, {}),
}
CONFIG_KEYS = {
    "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length", "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length", "max_position_embeddings": "context_length", "vocab_size": "vocab_size",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon", "rope_theta": "rope.freq_base",
}  # fmt: skip


def halves(rows, n_heads):
    """The reverse of ``rows_of_pairs``."""
    back = torch.empty_like(rows)
    back[rows_of_pairs(torch.arange(len(rows)), n_heads)] = rows
    return back


def hugging_face_tensors(checkpoint, arch, layers, n_heads):
    """What the golden model's tensors would be in a Hugging Face folder, and the GGUF names they stand for."""
    tensors, kept = {}, []
    for name, info in checkpoint.tensors.items():
        tensor = info.format.decode(checkpoint.tensor(name)).clone()
        if name in TOP:
            source = TOP[name]
        elif name.startswith("blk.") and name.endswith((".weight", ".bias")):
            _, i, module, kind = name.split(".")
            if module in EXPERTS:
                for e, expert in enumerate(tensor):
                    tensors[f"model.layers.{i}.block_sparse_moe.experts.{e}.{EXPERTS[module]}.{kind}"] = expert.clone()
                kept.append(name)
                continue
            if arch == "phi3" and module in ("attn_q", "attn_k", "attn_v"):
                continue  # these models have it fused; see the test
            source = f"model.layers.{i}.{layers[module]}.{kind}"
            if arch == "llama" and module in ("attn_q", "attn_k"):
                tensor = halves(tensor, n_heads)
        else:
            continue  # scales of quantization, and factors that a configuration implies
        tensors[source] = tensor - 1 if arch.startswith("gemma") and "norm" in source else tensor
        kept.append(name)
    return tensors, kept


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_model_made_into_a_folder_reads_as_the_gguf_file(name, tmp_path):
    class_name, layers, extra = GOLDEN[name]
    with open_checkpoint(unpacked(f"archs/{name}.gguf.xz")) as golden:
        arch = golden.metadata["general.architecture"]
        tensors, kept = hugging_face_tensors(golden, arch, layers, golden.metadata[f"{arch}.attention.head_count"])
        config = {key: golden.metadata[f"{arch}.{source}"] for key, source in CONFIG_KEYS.items()}
        config |= {"architectures": [class_name], "tie_word_embeddings": "output.weight" not in kept} | extra
        with open_checkpoint(write_folder(tmp_path / "m", config, tensors)) as checkpoint:
            assert sorted(checkpoint.tensors) == sorted(kept)
            for tensor in kept:
                assert checkpoint.tensors[tensor].shape == golden.tensors[tensor].shape
                torch.testing.assert_close(values(checkpoint, tensor), values(golden, tensor), rtol=0, atol=1e-6)
            for key in (*CONFIG_KEYS.values(), "expert_count"):
                if f"{arch}.{key}" in checkpoint.metadata:
                    assert checkpoint.metadata[f"{arch}.{key}"] == golden.metadata[f"{arch}.{key}"]


def test_phi3_keeps_its_fused_projections(tmp_path):
    tensors = {name: t for name, t in llama_tensors().items() if "self_attn" not in name and "mlp" not in name}
    tensors |= {
        f"{LAYER}self_attn.qkv_proj.weight": torch.randn(16, 8),
        f"{LAYER}self_attn.o_proj.weight": torch.randn(8, 8),
        f"{LAYER}mlp.gate_up_proj.weight": torch.randn(24, 8),
        f"{LAYER}mlp.down_proj.weight": torch.randn(8, 12),
    }
    factors = {"type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 4.0]}
    config = LLAMA | {
        "architectures": ["Phi3ForCausalLM"],
        "rope_scaling": factors,
        "original_max_position_embeddings": 16,
    }
    with open_checkpoint(write_folder(tmp_path / "m", config, tensors)) as checkpoint:
        for source, name in (("self_attn.qkv_proj", "attn_qkv"), ("mlp.gate_up_proj", "ffn_up")):
            assert values(checkpoint, f"blk.0.{name}.weight").equal(tensors[f"{LAYER}{source}.weight"])
        assert values(checkpoint, "rope_factors_short.weight").tolist() == [1.0, 1.5]
        assert values(checkpoint, "rope_factors_long.weight").tolist() == [2.0, 4.0]
        assert checkpoint.metadata["phi3.rope.scaling.original_context_length"] == 16
        # sqrt(1 + ln(64 / 16) / ln(16))
        assert checkpoint.metadata["phi3.rope.scaling.attn_factor"] == pytest.approx(math.sqrt(1.5))


def test_llama_3_frequency_factors_are_made(tmp_path):
    scaling = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }  # fmt: skip
    config = LLAMA | {"head_dim": 4, "rope_scaling": scaling, "rope_theta": 16.0}
    with open_checkpoint(write_folder(tmp_path / "m", config)) as checkpoint:
        # Frequencies 1 and 1/4 turn 5.09 and 1.27 times within 32 positions: kept, and on the ramp from 1 to 4 turns.
        ramp = (32 / (2 * math.pi) / 4 - 1) / 3
        expected = torch.tensor([1.0, 1 / ((1 - ramp) / 8 + ramp)])
        torch.testing.assert_close(values(checkpoint, "rope_freqs.weight"), expected)


def test_a_folder_without_a_model_is_refused_without_its_path(tmp_path):
    with pytest.raises(InvalidFile, match=r"config\.json") as refusal:
        open_checkpoint(tmp_path)
    assert str(tmp_path) not in str(refusal.value)
    write_json(tmp_path / "config.json", LLAMA)
    with pytest.raises(InvalidFile, match=r"folder: has neither model\.safetensors nor"):
        open_checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(InvalidFile, match=r"folder: has neither model\.safetensors nor"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("model.layers.1.input_layernorm.weight", torch.ones(8)),
        ("model.layers.00.input_layernorm.weight", torch.ones(8)),
        ("model.layers.0.self_attn.q_norm.weight", torch.ones(8)),
        ("model.layers.0.self_attn.q_proj.weight_scale_inv", torch.ones(8)),
        ("vision.weight", torch.ones(8)),
        ("model.layers.0.mlp.gate_proj.bias", torch.ones(12, dtype=torch.int64)),
    ],
)
def test_tensors_that_have_no_place_are_refused_by_name(tmp_path, name, tensor):
    with pytest.raises(UnsupportedModel) as refusal:
        open_checkpoint(write_folder(tmp_path / "m", tensors=llama_tensors() | {name: tensor}))
    assert name in str(refusal.value)


def test_frequencies_that_old_versions_saved_are_not_needed(tmp_path):
    tensors = llama_tensors() | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}
    assert len(open_checkpoint(write_folder(tmp_path / "m", tensors=tensors)).tensors) == len(llama_tensors())


def test_a_missing_output_and_missing_or_unlike_experts_are_refused(tmp_path):
    tensors = llama_tensors()
    del tensors["lm_head.weight"]
    with pytest.raises(InvalidFile, match=r"lm_head\.weight.*missing"):
        open_checkpoint(write_folder(tmp_path / "m", tensors=tensors))
    expert = f"{LAYER}block_sparse_moe.experts.{{}}.w1.weight"
    for second, reason in ((2, "expert 1 is missing"), (1, "expert 1 differs")):
        experts = {expert.format(0): torch.ones(4, 4), expert.format(second): torch.ones(4, 5)}
        with pytest.raises(InvalidFile, match=reason):
            open_checkpoint(write_folder(tmp_path / "m", MIXTRAL, mixtral_tensors() | experts))


def test_rows_that_are_no_pairs_are_refused(tmp_path):
    tensors = llama_tensors() | {f"{LAYER}self_attn.q_proj.weight": torch.ones(6, 8)}
    with pytest.raises(InvalidFile, match="6 rows are not pairs in 2 heads"):
        open_checkpoint(write_folder(tmp_path / "m", tensors=tensors))
