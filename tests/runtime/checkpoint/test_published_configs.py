"""config.json as models were published with, some years ago: other names, and what is left to the class."""

import pytest
import torch
from support.hf_folder import write_folder, write_json

from gristmill.runtime.checkpoint import open_checkpoint, read_metadata
from gristmill.runtime.errors import InvalidFile, UnsupportedModel

LLAMA_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128, "vocab_size": 32, "rms_norm_eps": 1e-6,
}  # fmt: skip
GPT2_SIZES = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_ctx": 128, "n_positions": 128, "vocab_size": 32}

CASES = {
    "falcon-7b": (
        {
            "architectures": ["FalconForCausalLM"], "alibi": False, "apply_residual_connection_post_layernorm": False,
            "bias": False, "hidden_size": 64, "layer_norm_epsilon": 1e-5, "multi_query": True, "n_head": 4,
            "n_layer": 2, "parallel_attn": True, "vocab_size": 32,
        },
        {
            "falcon.attention.head_count": 4, "falcon.attention.head_count_kv": 1, "falcon.context_length": 2048,
            "falcon.feed_forward_length": 256, "falcon.block_count": 2, "falcon.attention.layer_norm_epsilon": 1e-5,
        },
    ),
    "gpt2": (
        GPT2_SIZES | {
            "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        },
        {"gpt2.feed_forward_length": 256, "gpt2.context_length": 128, "gpt2.rope.freq_base": None},
    ),
    "starcoder": (
        GPT2_SIZES | {
            "architectures": ["GPTBigCodeForCausalLM"], "activation_function": "gelu", "layer_norm_epsilon": 1e-5,
            "multi_query": True, "n_inner": 100,
        },
        {"starcoder.attention.head_count_kv": 1, "starcoder.feed_forward_length": 100},
    ),
    "pythia": (
        LLAMA_SIZES | {
            "architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.5,
            "rotary_emb_base": 5000, "use_parallel_residual": False,
        },
        {
            "gptneox.rope.dimension_count": 8, "gptneox.rope.freq_base": 5000.0,
            "gptneox.use_parallel_residual": False, "gptneox.attention.head_count_kv": 4,
        },
    ),
    "bloom-560m": (
        {
            "architectures": ["BloomForCausalLM"], "n_embed": 64, "n_layer": 2, "num_attention_heads": 4,
            "layer_norm_epsilon": 1e-5, "vocab_size": 32, "seq_length": 512,
        },
        {"bloom.embedding_length": 64, "bloom.feed_forward_length": 256, "bloom.context_length": 512},
    ),
    "mpt-7b": (
        {
            "architectures": ["MPTForCausalLM"], "attn_config": {"alibi": True, "alibi_bias_max": 4, "clip_qkv": 6,
            "qk_ln": False, "softmax_scale": None}, "d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 128,
            "expansion_ratio": 2, "no_bias": True, "vocab_size": 32, "logit_scale": None,
        },
        {
            "mpt.attention.max_alibi_bias": 4.0, "mpt.attention.clamp_kqv": 6.0, "mpt.feed_forward_length": 128,
            "mpt.attention.layer_norm_epsilon": 1e-5,
        },
    ),
    "dbrx": (
        {
            "architectures": ["DbrxForCausalLM"], "attn_config": {"clip_qkv": 8, "kv_n_heads": 2, "rope_theta": 500000},
            "d_model": 64, "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2}, "n_heads": 4,
            "n_layers": 2, "max_seq_len": 128, "vocab_size": 32,
        },
        {"dbrx.rope.freq_base": 500000.0, "dbrx.expert_used_count": 2, "dbrx.attention.head_count_kv": 2},
    ),
    "phi-2": (
        LLAMA_SIZES | {
            "architectures": ["PhiForCausalLM"], "hidden_act": "gelu_new", "layer_norm_eps": 1e-5,
            "partial_rotary_factor": 0.25, "qk_layernorm": False, "num_key_value_heads": None,
        },
        {"phi2.rope.dimension_count": 4, "phi2.attention.head_count_kv": 4},
    ),
    "minimax-m2": (
        LLAMA_SIZES | {
            "architectures": ["MiniMaxM2ForCausalLM"], "head_dim": 16, "rotary_dim": 8, "num_local_experts": 4,
            "num_experts_per_tok": 2, "scoring_func": "sigmoid", "qk_norm_type": "per_layer", "rope_theta": 5e6,
        },
        {
            "minimax-m2.rope.dimension_count": 8, "minimax-m2.expert_feed_forward_length": 96,
            "minimax-m2.expert_gating_func": 2,
        },
    ),
    "gpt-oss": (
        LLAMA_SIZES | {
            "architectures": ["GptOssForCausalLM"], "head_dim": 16, "num_local_experts": 4, "experts_per_token": 2,
            "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"], "rope_theta": 150000,
            "rope_scaling": {
                "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
                "rope_type": "yarn", "truncate": False,
            },
            "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
        },
        {
            "gpt-oss.expert_used_count": 2, "gpt-oss.attention.sliding_window": 128,
            "gpt-oss.attention.sliding_window_pattern": None, "gpt-oss.rope.scaling.yarn_truncate": False,
        },
    ),
    "gemma-3-4b": (
        {
            "architectures": ["Gemma3ForConditionalGeneration"], "mm_tokens_per_image": 256,
            "text_config": {
                "hidden_size": 64, "intermediate_size": 96, "model_type": "gemma3_text", "num_hidden_layers": 2,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
            },
            "vision_config": {"hidden_size": 16},
        },
        {
            "general.architecture": "gemma3", "gemma3.attention.head_count": 8, "gemma3.attention.head_count_kv": 4,
            "gemma3.attention.key_length": 256, "gemma3.rope.scaling.factor": 8.0, "gemma3.vocab_size": 262208,
        },
    ),
    "qwen2.5-vl": (
        LLAMA_SIZES | {
            "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "rope_theta": 1e6,
            "sliding_window": 32768, "use_sliding_window": False, "vision_config": {"depth": 1},
        },
        {"general.architecture": "qwen2vl", "qwen2vl.rope.dimension_sections": [2, 3, 3, 0]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_older_names_and_what_a_class_leaves_out(tmp_path, name):
    config, expected = CASES[name]
    write_json(tmp_path / "config.json", config)
    metadata = read_metadata(tmp_path)
    assert {key: metadata.get(key) for key in expected} == expected


def test_tensors_without_a_prefix_and_saved_masks(tmp_path):
    tensors = {
        "wte.weight": torch.ones(32, 64),
        "h.0.attn.bias": torch.ones(1, 1, 4, 4),
        "h.1.ln_1.bias": torch.ones(64),
    }
    with open_checkpoint(write_folder(tmp_path / "m", CASES["gpt2"][0], tensors)) as checkpoint:
        assert set(checkpoint.tensors) == {"token_embd.weight", "blk.1.attn_norm.bias"}


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model.", "model."])
def test_a_text_model_is_found_beside_pictures(tmp_path, prefix):
    config = CASES["gemma-3-4b"][0]
    tensors = {
        f"{prefix}embed_tokens.weight": torch.ones(32, 64),
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight": torch.ones(4, 4),
        "multi_modal_projector.mm_soft_emb_norm.weight": torch.ones(4),
    }
    with open_checkpoint(write_folder(tmp_path / "m", config, tensors)) as checkpoint:
        assert list(checkpoint.tensors) == ["token_embd.weight"]
    with pytest.raises(UnsupportedModel, match=r"audio_tower\.conv\.weight"):
        open_checkpoint(write_folder(tmp_path / "m", config, tensors | {"audio_tower.conv.weight": torch.ones(4)}))


def test_another_text_model_beside_pictures_is_refused(tmp_path):
    text = CASES["gemma-3-4b"][0]["text_config"] | {"model_type": "gemma9_text"}
    write_json(tmp_path / "config.json", CASES["gemma-3-4b"][0] | {"text_config": text})
    with pytest.raises(
        UnsupportedModel, match=r'text_config\.model_type" "gemma9_text" is not supported; supported: gemma3'
    ):
        read_metadata(tmp_path)


def test_blocks_and_scales_that_do_not_fit_are_refused(tmp_path):
    config = CASES["gpt-oss"][0] | {"tie_word_embeddings": True}
    down = "model.layers.0.mlp.experts.down_proj"
    blocks, scales = torch.ones(4, 64, 3, 16, dtype=torch.uint8), torch.ones(4, 64, 3, dtype=torch.uint8)
    good = {f"{down}_blocks": blocks, f"{down}_scales": scales}
    with open_checkpoint(write_folder(tmp_path / "m", config, good)) as checkpoint:
        assert checkpoint.tensors["blk.0.ffn_down_exps.weight"].shape == (4, 64, 96)
    for change in ({f"{down}_scales": scales[:, :32].clone()}, {f"{down}_blocks": blocks.float()}):
        with pytest.raises(InvalidFile, match=r"ffn_down_exps\.weight.*do not fit"):
            open_checkpoint(write_folder(tmp_path / "m", config, good | change))
    with pytest.raises(InvalidFile, match=r"ffn_down_exps\.weight.*has only blocks, not blocks and scales"):
        open_checkpoint(write_folder(tmp_path / "m", config, {f"{down}_blocks": blocks}))
    with pytest.raises(UnsupportedModel, match="dtype U8 is not supported"):
        open_checkpoint(write_folder(tmp_path / "m", config, {"model.norm.weight": scales[0, 0]}))
