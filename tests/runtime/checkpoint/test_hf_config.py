"""config.json becomes the keys that a GGUF file has, or is refused by name."""

import pytest
from support.hf_folder import LLAMA, write_folder, write_json

from gristmill.runtime.checkpoint import open_checkpoint, read_metadata
from gristmill.runtime.errors import InvalidFile, UnsupportedModel


def gemma3(**changes):
    return LLAMA | {
        "architectures": ["Gemma3ForCausalLM"], "head_dim": 4, "query_pre_attn_scalar": 4, "sliding_window": 16,
        "hidden_act": None, "hidden_activation": "gelu_pytorch_tanh",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
            {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        ),
        (
            {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32}},
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.original_context_length": 16,
                "rope.scaling.yarn_beta_fast": 32.0,
            },
        ),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}, {"rope.freq_base": 5.0}),
        ({"partial_rotary_factor": 0.5}, {"rope.dimension_count": 2}),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 32}, {"context_length": 32}),
        ({"num_key_value_heads": None}, {"attention.head_count_kv": 2}),
    ],
)
def test_configurations_of_llama_become_keys(tmp_path, changes, expected):
    write_json(tmp_path / "config.json", LLAMA | changes)
    metadata = read_metadata(tmp_path)
    assert {key: metadata.get(f"llama.{key}") for key in expected} == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"attention.sliding_window": 16, "attention.sliding_window_pattern": None, "rope.freq_base_swa": None}),
        ({"rope_local_base_freq": 5.0}, {"rope.freq_base_swa": 5.0}),
        ({"layer_types": ["full_attention"]}, {"attention.sliding_window_pattern": [False]}),
        ({"final_logit_softcapping": 30.0}, {"final_logit_softcapping": 30.0, "attn_logit_softcapping": None}),
        ({"attn_logit_softcapping": None}, {"final_logit_softcapping": None, "attn_logit_softcapping": 0.0}),
        (
            {
                "rope_theta": None,
                "rope_parameters": {
                    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                },
            },
            {"rope.freq_base": 1e6, "rope.scaling.factor": 8.0, "rope.freq_base_swa": None},
        ),
    ],
)
def test_configurations_of_gemma_become_keys(tmp_path, changes, expected):
    write_json(tmp_path / "config.json", gemma3(**changes))
    metadata = read_metadata(tmp_path)
    assert {key: metadata.get(f"gemma3.{key}") for key in expected} == expected


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"architectures": ["GPT3LMHeadModel"]}, UnsupportedModel, "GPT3LMHeadModel"),
        ({"architectures": ["GPT3LMHeadModel"]}, UnsupportedModel, "most like it: GPT2LMHeadModel"),
        ({"architectures": []}, UnsupportedModel, "architectures"),
        ({"architectures": ["LlamaForCausalLM"] * 500_000}, UnsupportedModel, "architectures"),
        ({"architectures": "LlamaForCausalLM"}, InvalidFile, "architectures"),
        ({"quantization_config": {"quant_method": "gptq"}}, UnsupportedModel, "quantization_config"),
        ({"hidden_act": "relu"}, UnsupportedModel, "hidden_act"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, UnsupportedModel, "dynamic"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, UnsupportedModel, "mscale"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, InvalidFile, "factor"),
        ({"partial_rotary_factor": 0.1}, InvalidFile, "partial_rotary_factor"),
        ({"hidden_size": None}, InvalidFile, "hidden_size"),
        ({"hidden_size": 9}, InvalidFile, "num_attention_heads"),
        ({"hidden_size": "8"}, InvalidFile, "hidden_size"),
        ({"hidden_size": True}, InvalidFile, "hidden_size"),
        ({"num_hidden_layers": 0}, InvalidFile, "num_hidden_layers"),
        ({"num_hidden_layers": -1}, InvalidFile, "num_hidden_layers"),
        ({"num_hidden_layers": 2**32}, InvalidFile, "num_hidden_layers"),
        ({"num_key_value_heads": 3}, InvalidFile, "num_key_value_heads"),
        ({"rms_norm_eps": 0.0}, InvalidFile, "rms_norm_eps"),
        ({"tie_word_embeddings": "no"}, InvalidFile, "tie_word_embeddings"),
        (
            {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 4, "use_sliding_window": True},
            UnsupportedModel,
            "use_sliding",
        ),
        ({"architectures": ["Qwen3ForCausalLM"]}, InvalidFile, "head_dim"),
        (gemma3(query_pre_attn_scalar=5), UnsupportedModel, "query_pre_attn_scalar"),
        (gemma3(attn_logit_softcapping=50.0), UnsupportedModel, "attn_logit_softcapping"),
        (gemma3(use_bidirectional_attention=True), UnsupportedModel, "use_bidirectional_attention"),
        (gemma3(sliding_window_pattern=3), UnsupportedModel, "sliding_window_pattern"),
        (gemma3(layer_types=["full_attention"] * 2), InvalidFile, "layer_types"),
    ],
)
def test_configurations_that_are_wrong_or_unknown_are_refused_by_name(tmp_path, changes, error, named):
    with pytest.raises(error) as refusal:
        open_checkpoint(write_folder(tmp_path / "m", LLAMA | changes))
    assert named in str(refusal.value)
    assert len(str(refusal.value)) < 512


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"hidden_size": NaN}', "NaN"),
        ('{"hidden_size": Infinity}', "Infinity"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": ' + "9" * 5000 + "}", "number too long"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not an object"),
        ("\ufeff{}", "not JSON"),
        ('{"a": 1', "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_broken_config_is_refused(tmp_path, text, reason):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile, match=r"invalid safetensors: config\.json: ") as refusal:
        open_checkpoint(tmp_path)
    assert reason in str(refusal.value)
