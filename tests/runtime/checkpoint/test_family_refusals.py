"""What a folder of any class asks for that is not built is refused by name."""

import pytest
import torch
from support.hf_folder import write_folder, write_json

from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import open_checkpoint, read_metadata
from gristmill.runtime.checkpoint.families import families
from gristmill.runtime.errors import InvalidFile, UnsupportedModel

# What config.json of every class has, under all names that it has there.
WIDTH, N_HEADS, N_LAYERS = 8, 2, 3
CONFIG = {
    "vocab_size": 16, "hidden_size": WIDTH, "n_embd": WIDTH, "d_model": WIDTH, "head_dim": 4,
    "intermediate_size": 12, "intermediate_size_mlp": 12, "n_inner": 12, "moe_intermediate_size": 6,
    "shared_expert_intermediate_size": 6, "shared_intermediate_size": 6,
    "num_hidden_layers": N_LAYERS, "n_layer": N_LAYERS, "n_layers": N_LAYERS,
    "num_attention_heads": N_HEADS, "n_head": N_HEADS, "n_heads": N_HEADS, "num_key_value_heads": N_HEADS,
    "max_position_embeddings": 64, "n_positions": 64, "max_seq_len": 64,
    "rms_norm_eps": 1e-5, "layer_norm_eps": 1e-5, "layer_norm_epsilon": 1e-5, "norm_eps": 1e-5, "norm_epsilon": 1e-5,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_k": 2, "moe_topk": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "kv_lora_rank": 6, "q_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 4,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
    "ffn_config": {"ffn_hidden_size": 12, "moe_num_experts": 4, "moe_top_k": 2},
}  # fmt: skip
CLASSES = {
    "Gemma3TextModel": {"use_bidirectional_attention": True},
    "GPTNeoXForCausalLM": {"rotary_pct": 0.5},
    "Ministral3ForCausalLM": {
        "rope_parameters": {
            "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32, "mscale": 1.0,
            "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
        }
    },
    "NomicBertModel": {"num_experts": 0},
    "Qwen3MoeForCausalLM": {"norm_topk_prob": True},
    "StableLmForCausalLM": {"partial_rotary_factor": 0.5},
}  # fmt: skip
CASES = [
    ("Ministral3ForCausalLM", {"rope_parameters": {"rope_type": "default"}}, "rope_parameters.rope_type"),
    ("Ernie4_5_MoeForCausalLM", {"moe_layer_end_index": 1}, "moe_layer_end_index"),
    ("Exaone4ForCausalLM", {"sliding_window": 8}, "sliding_window"),
    ("Gemma2ForCausalLM", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("Llama4ForCausalLM", {"no_rope_layers": [0, 0, 0]}, "no_rope_layers"),
    ("Llama4ForCausalLM", {"layer_types": ["full_attention"] * 3}, "layer_types"),
    ("Llama4ForCausalLM", {"moe_layers": [1]}, "moe_layers"),
    ("Llama4ForCausalLM", {"use_qk_norm": False}, "use_qk_norm"),
    (
        "Olmo3ForCausalLM",
        {
            "sliding_window": 8,
            "rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}},
        },
        "rope base 10000 in layers with a sliding window",
    ),
    ("Qwen3MoeForCausalLM", {"norm_topk_prob": None}, "norm_topk_prob"),
    ("SmolLM3ForCausalLM", {"no_rope_layers": [1, 0, 1]}, "no_rope_layers"),
    ("SmolLM3ForCausalLM", {"use_sliding_window": True}, "use_sliding_window"),
]


def config_of(name, **changes):
    return CONFIG | {"architectures": [name]} | CLASSES.get(name, {}) | changes


def refusal_of(folder, config):
    write_json(folder / "config.json", config)
    with pytest.raises(UnsupportedModel) as refusal:
        read_metadata(folder)
    assert len(str(refusal.value)) < 512
    return str(refusal.value)


def with_value(config, name, value):
    """``name`` may be that of a key in an object."""
    *path, key = name.split(".")
    return config | ({path[0]: config.get(path[0], {}) | {key: value}} if path else {key: value})


@pytest.mark.parametrize("name", families())
def test_every_class_has_an_architecture_with_what_decoders_need(tmp_path, name):
    write_json(tmp_path / "config.json", config_of(name))
    metadata, architecture = read_metadata(tmp_path), families()[name].architecture
    assert metadata["general.architecture"] == architecture
    assert metadata[f"{architecture}.block_count"] == N_LAYERS
    assert metadata[f"{architecture}.embedding_length"] == WIDTH
    assert metadata[f"{architecture}.attention.head_count"] == N_HEADS


@pytest.mark.parametrize("name", families())
def test_unknown_activations_are_refused(tmp_path, name):
    assert "xielu" in refusal_of(tmp_path, config_of(name, hidden_act="xielu"))


@pytest.mark.parametrize("name", [name for name, family in families().items() if family.rope])
def test_unknown_rope_types_are_refused(tmp_path, name):
    scaling = {"rope_type": "dynamic", "factor": 2.0}
    assert '"dynamic"' in refusal_of(tmp_path, config_of(name, rope_parameters=scaling))


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, family in families().items() for key in family.only])
def test_values_that_are_not_built_are_refused(tmp_path, name, key):
    config = with_value(config_of(name), key, "something else")
    assert f'"{key}" "something else" is not supported' in refusal_of(tmp_path, config)


@pytest.mark.parametrize(("name", "changes", "named"), CASES)
def test_what_one_class_can_ask_for_and_has_not_been_built_is_refused(tmp_path, name, changes, named):
    assert named in refusal_of(tmp_path, config_of(name, **changes))


def gpt2_tensors():
    shapes = {"wte.weight": (16, 8), "wpe.weight": (64, 8), "ln_f.weight": (8,), "ln_f.bias": (8,)}
    layer = {
        "ln_1.weight": (8,), "ln_1.bias": (8,), "ln_2.weight": (8,), "ln_2.bias": (8,),
        "attn.c_attn.weight": (8, 24), "attn.c_attn.bias": (24,), "attn.c_proj.weight": (8, 8),
        "attn.c_proj.bias": (8,),
        "mlp.c_fc.weight": (8, 12), "mlp.c_fc.bias": (12,), "mlp.c_proj.weight": (12, 8), "mlp.c_proj.bias": (8,),
    }  # fmt: skip
    shapes |= {f"h.{i}.{name}": shape for i in range(N_LAYERS) for name, shape in layer.items()}
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def test_tensors_that_are_missing_or_misshapen_are_refused(tmp_path):
    config, tensors = config_of("GPT2LMHeadModel"), gpt2_tensors()
    open_model(write_folder(tmp_path / "m", config, tensors), backend="reference")
    without = {name: tensor for name, tensor in tensors.items() if name != "ln_f.weight"}
    with pytest.raises(UnsupportedModel, match=r"tensor output_norm\.weight: missing"):
        open_model(write_folder(tmp_path / "m", config, without), backend="reference")
    other = tensors | {"h.1.mlp.c_fc.weight": torch.ones(12, 8)}
    with pytest.raises(UnsupportedModel, match=r"blk\.1\.ffn_up\.weight: expected shape \(12, 8\), got \(8, 12\)"):
        open_model(write_folder(tmp_path / "m", config, other), backend="reference")


def test_a_tensor_under_two_names_is_refused(tmp_path):
    tensors = gpt2_tensors() | {"transformer.wte.weight": torch.ones(16, 8)}
    with pytest.raises(InvalidFile, match=r"is token_embd\.weight for the second time"):
        open_checkpoint(write_folder(tmp_path / "m", config_of("GPT2LMHeadModel"), tensors))


@pytest.mark.parametrize(
    ("name", "source", "shape", "reason"),
    [
        (
            "BloomForCausalLM",
            "h.0.self_attention.query_key_value.weight",
            (20, 8),
            "20 rows are not 2 groups of 3 heads",
        ),
        ("DbrxForCausalLM", "blocks.0.ffn.experts.mlp.w1", (30, 8), "not that of 4 experts"),
        ("GptOssForCausalLM", "layers.0.mlp.experts.gate_up_proj", (4, 8, 5), "no two equal parts"),
        ("GptOssForCausalLM", "layers.0.mlp.experts.gate_up_proj_bias", (5,), "no two equal parts"),
        ("Qwen2MoeForCausalLM", "layers.0.mlp.shared_expert_gate.weight", (2, 8), "not one row"),
        ("Qwen2MoeForCausalLM", "layers.0.mlp.shared_expert_gate.weight", (8,), "not one row"),
    ],
)
def test_parts_that_cannot_be_taken_from_a_tensor_are_refused(tmp_path, name, source, shape, reason):
    folder = write_folder(tmp_path / "m", config_of(name), {source: torch.ones(shape)})
    with pytest.raises(InvalidFile, match=reason):
        open_checkpoint(folder)


def test_layers_that_guess_further_tokens_are_left_out(tmp_path):
    config = config_of("Glm4MoeForCausalLM", num_nextn_predict_layers=1, tie_word_embeddings=True)
    tensors = {f"model.layers.{i}.input_layernorm.weight": torch.ones(8) for i in (2, 3)}
    with open_checkpoint(write_folder(tmp_path / "m", config, tensors)) as checkpoint:
        assert list(checkpoint.tensors) == ["blk.2.attn_norm.weight"]
    tensors["model.layers.4.input_layernorm.weight"] = torch.ones(8)
    with pytest.raises(UnsupportedModel, match=r"model\.layers\.4\."):
        open_checkpoint(write_folder(tmp_path / "m", config, tensors))
