"""Classes of Hugging Face models against transformers: tiny random models, saved by it, opened here, same logits."""

import math

import pytest
import torch
from support.hf_folder import write_folder

from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.checkpoint.families import families, with_pictures
from gristmill.runtime.convert.jobs import ConvertJob
from gristmill.runtime.convert.worker import run

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install 'gristmill[oracle]'")

RELATIVE_LIMIT = 1e-5
IDS = [(7 * i + i * i) % 96 for i in range(40)]

SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
HEADS = {"head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
GPT = {
    "vocab_size": 96,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 4.0, 6.0, 8.0],
}  # fmt: skip
LATENT = {
    "num_key_value_heads": 4, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8,
    "v_head_dim": 10,
}  # fmt: skip
FACTORS = {
    "attention_multiplier": 0.3, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 4.0,
}  # fmt: skip
TANH = {"hidden_act": "gelu_pytorch_tanh"}  # what GGUF's architecture computes where files say "gelu"

# By class name, or that and a variant: the configuration.
CASES = {
    "LlamaForCausalLM": SIZES,
    "LlamaForCausalLM rope": SIZES | {"rope_parameters": LLAMA3, "attention_bias": True, "tie_word_embeddings": True},
    "MistralForCausalLM": SIZES | HEADS | {"sliding_window": None, "rope_parameters": YARN},
    "Ministral3ForCausalLM": SIZES | HEADS | {
        "rope_parameters": YARN | {
            "original_max_position_embeddings": 8, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
        },
    },
    "MixtralForCausalLM": SIZES | LOCAL_EXPERTS,
    "Llama4ForCausalLM": SIZES | HEADS | {
        "num_local_experts": 4, "num_hidden_layers": 5, "intermediate_size_mlp": 40, "interleave_moe_layer_step": 2,
        "attention_chunk_size": 16, "floor_scale": 8,
    },
    "Qwen2ForCausalLM": SIZES,
    "Qwen2MoeForCausalLM": SIZES | EXPERTS | {"shared_expert_intermediate_size": 40},
    "Qwen3ForCausalLM": SIZES | HEADS,
    "Qwen3MoeForCausalLM": SIZES | HEADS | EXPERTS | {"norm_topk_prob": True},
    "GemmaForCausalLM": SIZES | HEADS,
    "Gemma2ForCausalLM": SIZES | HEADS | {"sliding_window": 16, "query_pre_attn_scalar": 16},
    "Gemma3ForCausalLM": SIZES | HEADS | {"sliding_window": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 7},
    "PhiForCausalLM": SIZES,
    "Phi3ForCausalLM": SIZES,
    "Phi3ForCausalLM rope": SIZES | {"rope_parameters": LONG, "original_max_position_embeddings": 64},
    "GptOssForCausalLM": SIZES | HEADS | LOCAL_EXPERTS | {"sliding_window": 16, "rope_parameters": YARN},
    "GptOssForCausalLM mxfp4": SIZES | HEADS | LOCAL_EXPERTS | {"hidden_size": 64, "intermediate_size": 32},
    "GlmForCausalLM": SIZES | HEADS,
    "Glm4ForCausalLM": SIZES | HEADS,
    "Glm4MoeForCausalLM": SIZES | HEADS | {
        "n_routed_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 24, "n_shared_experts": 2,
        "use_qk_norm": True, "routed_scaling_factor": 1.5, "attention_bias": True,
    },
    "CohereForCausalLM": SIZES,
    "CohereForCausalLM norms": SIZES | {"use_qk_norm": True},
    "Cohere2ForCausalLM": SIZES | {"sliding_window": 16, "num_hidden_layers": 5},
    "GraniteForCausalLM": SIZES | FACTORS,
    "GraniteMoeForCausalLM": SIZES | FACTORS | LOCAL_EXPERTS,
    "GraniteMoeSharedForCausalLM": SIZES | FACTORS | LOCAL_EXPERTS | {"shared_intermediate_size": 40},
    "SmolLM3ForCausalLM": SIZES | {"num_hidden_layers": 5},
    "OlmoForCausalLM": SIZES | {"clip_qkv": 0.8},
    "Olmo2ForCausalLM": SIZES,
    "Olmo3ForCausalLM": SIZES | {"sliding_window": 16, "num_hidden_layers": 5},
    "OlmoeForCausalLM": SIZES | {"num_experts": 4, "num_experts_per_tok": 2},
    "Exaone4ForCausalLM": SIZES | {"sliding_window": None, "layer_types": ["full_attention"] * 4},
    "StableLmForCausalLM": SIZES | {"use_qkv_bias": True, "partial_rotary_factor": 0.5},
    "StableLmForCausalLM norms": SIZES | {
        "qk_layernorm": True, "use_parallel_residual": True, "partial_rotary_factor": 0.5,
    },
    "Starcoder2ForCausalLM": SIZES,
    "FalconForCausalLM": SIZES | {"new_decoder_architecture": True, "num_kv_heads": 2, "activation": "gelu_new"},
    "FalconForCausalLM 7b": SIZES | {"multi_query": True, "activation": "gelu_new"},
    "GPT2LMHeadModel": GPT | {"n_inner": 80},
    "GPTBigCodeForCausalLM": GPT,
    "GPTNeoXForCausalLM": SIZES | TANH | {"num_key_value_heads": None},
    "GPTNeoXForCausalLM serial": SIZES | TANH | {"num_key_value_heads": None, "use_parallel_residual": False},
    "BloomForCausalLM": {"vocab_size": 96, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    "MptForCausalLM": {
        "vocab_size": 96, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 64,
        "attn_config": {"clip_qkv": 0.8},
    },
    "NemotronForCausalLM": SIZES,
    "Ernie4_5ForCausalLM": SIZES | HEADS,
    "Ernie4_5_MoeForCausalLM": SIZES | {
        "moe_num_experts": 6, "moe_k": 3, "moe_intermediate_size": 24, "moe_num_shared_experts": 2,
    },
    "ArceeForCausalLM": SIZES,
    "SeedOssForCausalLM": SIZES | HEADS,
    "MiniMaxM2ForCausalLM": SIZES | HEADS | LOCAL_EXPERTS | {"rotary_dim": 8},
    "DeepseekV2ForCausalLM": SIZES | LATENT | {
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_shared_experts": 2,
        "first_k_dense_replace": 1, "q_lora_rank": None,
    },
    "DeepseekV3ForCausalLM": SIZES | LATENT | {
        "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_shared_experts": 2,
        "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2,
        "rope_parameters": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
    },
    "MiniCPM3ForCausalLM": SIZES | LATENT,
    "HunYuanDenseV1ForCausalLM": SIZES | HEADS,
    "HunYuanDenseV1ForCausalLM rope": SIZES | HEADS | {
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "alpha": 50.0, "factor": 1.0},
    },
    "HunYuanMoEV1ForCausalLM": SIZES | HEADS | {"num_experts": 4, "moe_topk": 2},
    "DbrxForCausalLM": {
        "vocab_size": 96, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 128,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 0.8, "rope_theta": 1e4},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
}  # fmt: skip
# Text models in classes that look at pictures, too.
PIXTRAL = {"model_type": "pixtral", "head_dim": 8}
EYES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "num_heads": 2,
    "depth": 1, "image_size": 28, "patch_size": 14, "out_hidden_size": 32, "deepstack_visual_indexes": [0],
}  # fmt: skip
SECTIONS = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}}
PICTURES = {
    "Gemma3ForConditionalGeneration": {
        "text_config": CASES["Gemma3ForCausalLM"], "vision_config": EYES, "mm_tokens_per_image": 4,
    },
    "Llama4ForConditionalGeneration": {
        "text_config": CASES["Llama4ForCausalLM"],
        "vision_config": EYES | {"vision_output_dim": 32, "projector_input_dim": 16, "projector_output_dim": 16},
    },
    "Mistral3ForConditionalGeneration": {
        "text_config": SIZES | HEADS | {"model_type": "mistral", "sliding_window": None},
        "vision_config": EYES | PIXTRAL, "tie_word_embeddings": False,
    },
    "Mistral3ForConditionalGeneration ministral": {
        "text_config": CASES["Ministral3ForCausalLM"] | {"model_type": "ministral3"},
        "vision_config": EYES | PIXTRAL,
    },
    "PaddleOCRVLForConditionalGeneration": {"text_config": SIZES | HEADS | SECTIONS, "vision_config": EYES},
    "Qwen2VLForConditionalGeneration": {
        "text_config": SIZES | {"hidden_size": 64} | SECTIONS,
        "vision_config": EYES | {"embed_dim": 16, "hidden_size": 64},
    },
    "Qwen2_5_VLForConditionalGeneration": {
        "text_config": SIZES | {"hidden_size": 64} | SECTIONS, "vision_config": EYES | {"out_hidden_size": 64},
    },
    "Qwen3VLForConditionalGeneration": {"text_config": SIZES | HEADS | SECTIONS, "vision_config": EYES},
    "Qwen3VLMoeForConditionalGeneration": {
        "text_config": SIZES | HEADS | EXPERTS | SECTIONS, "vision_config": EYES,
    },
}  # fmt: skip
# Embeddings, which other tests compare, and another name of a class that is here.
ELSEWHERE = {"BertModel", "Gemma3TextModel", "NomicBertModel", "MPTForCausalLM"}
# Fused, split, transposed and stacked tensors, all written to a GGUF file and read again.
CONVERTED = ("DbrxForCausalLM", "Ernie4_5_MoeForCausalLM", "GPT2LMHeadModel", "GptOssForCausalLM")


def randomised(case):
    """A model of transformers with random weights everywhere: in norms, biases and tables of buffers, too."""
    class_name = case.split()[0]
    model_class = getattr(transformers, class_name)
    generator = torch.Generator().manual_seed(0)
    config = model_class.config_class(**(CASES | PICTURES)[case], attn_implementation="eager")
    with torch.random.fork_rng():  # some vectors are drawn by the class itself: the same ones in every order of tests
        torch.manual_seed(0)
        model = model_class(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.GELU):
            module.approximate = "tanh"  # as GGUF's architecture computes it; MPT's class has no setting for it
    with torch.no_grad():
        for values in model.state_dict().values():
            noise = torch.randn(values.shape, generator=generator)
            values.copy_(values + noise / 5 if values.ndim < 2 else noise / math.sqrt(32))
    return model


def relative_error(x, expected):
    return ((x - expected).norm() / expected.norm()).item()


def logits(path):
    return open_model(path, backend="reference", kv_type="f32", n_ctx=64).logits(IDS)


@pytest.fixture(scope="module", params=[*CASES, *PICTURES])
def saved(request, tmp_path_factory):
    """(its folder, the logits that transformers computes)"""
    model = randomised(request.param)
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    # Llama 4 does not compute logits without a picture; the model of its text alone does.
    text = model.language_model if request.param.startswith("Llama4ForCond") else model
    with torch.no_grad():
        return folder, text(torch.tensor([IDS])).logits[0]


def test_logits_are_those_of_transformers(saved):
    folder, expected = saved
    assert relative_error(logits(folder), expected) < RELATIVE_LIMIT


def test_every_class_is_compared():
    assert {case.split()[0] for case in CASES} == families().keys() - ELSEWHERE
    assert {case.split()[0] for case in PICTURES} == with_pictures().keys()


@pytest.mark.parametrize("case", CONVERTED)
def test_a_folder_made_into_a_gguf_file_computes_the_same(case, tmp_path):
    # As half floats, which the file holds as they are.
    randomised(case).to(torch.float16).save_pretrained(tmp_path / "m")
    run(ConvertJob(str(tmp_path / "m"), str(tmp_path / "m.gguf")))
    assert torch.equal(logits(tmp_path / "m.gguf"), logits(tmp_path / "m"))


def test_gpt_oss_opens_with_its_experts_as_they_are_published(tmp_path):
    """Blocks of 4-bit elements with a scale each; transformers says what they mean."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    model = randomised("GptOssForCausalLM mxfp4")
    generator = torch.Generator().manual_seed(1)
    packed, state = {}, model.state_dict()
    for name, values in state.items():
        if name.endswith(("gate_up_proj", "down_proj")):
            n_experts, n_in, n_out = values.shape
            blocks = torch.randint(256, (n_experts, n_out, n_in // 32, 16), generator=generator, dtype=torch.uint8)
            scales = torch.randint(122, 126, blocks.shape[:-1], generator=generator, dtype=torch.uint8)
            packed |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
            values.copy_(convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
    with torch.no_grad():
        expected = model(torch.tensor([IDS])).logits[0]
    left = {name: values for name, values in state.items() if f"{name}_blocks" not in packed}
    config = model.config.to_diff_dict() | {
        "architectures": ["GptOssForCausalLM"], "quantization_config": {"quant_method": "mxfp4"},
    }  # fmt: skip
    folder = write_folder(tmp_path / "m", config, left | packed)
    assert relative_error(logits(folder), expected) < RELATIVE_LIMIT
    run(ConvertJob(str(folder), str(tmp_path / "m.gguf")))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        assert checkpoint.tensors["blk.0.ffn_up_exps.weight"].format.name == "MXFP4"
        assert checkpoint.metadata["general.file_type"] == 38
        assert checkpoint.metadata["gpt-oss.rope.scaling.yarn_truncate"] is False
    assert relative_error(logits(tmp_path / "m.gguf"), expected) < 1e-2  # what is not of experts has become halves
