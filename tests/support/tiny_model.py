"""A tiny random Llama (or Gemma 3, Falcon H1) with a byte-level tokenizer and a chat template, as a GGUF file of 90 KB.

It says nothing of sense, but it goes through every part that a real model goes through, in milliseconds. Falcon H1 has
Mamba 2 beside the attention of every layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_LAYERS, HIDDEN, FFN, N_HEADS, N_KV_HEADS = 2, 64, 96, 4, 2
SSM = {"conv_kernel": 4, "inner_size": 64, "state_size": 8, "time_step_rank": 4, "group_count": 2}
MERGED = ("th", "in")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_tokens() -> list[str]:
    """The 256 one-byte tokens of byte-level BPE, in GPT-2's printable spelling."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelling = {b: chr(b) for b in printable}
    for n, byte in enumerate(b for b in range(256) if b not in spelling):
        spelling[byte] = chr(256 + n)
    return [spelling[b] for b in range(256)]


def write_tiny_model(
    path: Path,
    *,
    seed: int = 0,
    context: int = 512,
    quantize: bool = True,
    chat_template: str | None = CHAT_TEMPLATE,
    specials: tuple[str, ...] = SPECIALS,
    pooling: int | None = None,
    architecture: str = "llama",
) -> Path:
    """Write the model to ``path`` and return it. With ``quantize``, matrices are Q8_0, else F32."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // N_HEADS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quantize else gguf.LlamaFileType.ALL_F32)
    if pooling is not None:
        writer.add_uint32("llama.pooling_type", pooling)
    tokens = [*byte_tokens(), *MERGED, *specials]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (256 + len(MERGED)) + [gguf.TokenType.CONTROL] * len(specials))
    writer.add_token_merges(["t h", "i n"])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    if architecture == "gemma3":
        writer.add_sliding_window(32)
    for key, value in SSM.items() if architecture == "falcon-h1" else ():
        writer.add_uint32(f"falcon-h1.ssm.{key}", value)
    for name, shape in _shapes(len(tokens), architecture).items():
        values = _values(name, shape, rng).astype(np.float32)
        if quantize and len(shape) == 2 and shape[-1] % 32 == 0 and "norm" not in name:
            q8_0 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, q8_0), raw_dtype=q8_0)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if name.endswith("ssm_a"):  # decays, which are negative
        return -np.exp(rng.standard_normal(shape))
    if name.endswith("bias"):
        return rng.standard_normal(shape)
    return np.ones(shape) if len(shape) == 1 else rng.standard_normal(shape) * 1.5 / np.sqrt(shape[-1])


def _ssm_shapes() -> dict[str, tuple[int, ...]]:
    inner, n_heads, n_groups = SSM["inner_size"], SSM["time_step_rank"], SSM["group_count"]
    channels = inner + 2 * n_groups * SSM["state_size"]
    return {
        "ssm_in.weight": (inner + channels + n_heads, HIDDEN),
        "ssm_conv1d.weight": (channels, SSM["conv_kernel"]),
        "ssm_conv1d.bias": (channels,),
        "ssm_dt.bias": (n_heads,),
        "ssm_a": (n_heads, 1),
        "ssm_d": (n_heads, 1),
        "ssm_norm.weight": (n_groups, inner // n_groups),
        "ssm_out.weight": (HIDDEN, inner),
    }


def _shapes(n_vocab: int, architecture: str) -> dict[str, tuple[int, ...]]:
    kv = N_KV_HEADS * HIDDEN // N_HEADS
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (n_vocab, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(N_LAYERS):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_norm.weight": (HIDDEN,),
                "attn_q.weight": (HIDDEN, HIDDEN),
                "attn_k.weight": (kv, HIDDEN),
                "attn_v.weight": (kv, HIDDEN),
                "attn_output.weight": (HIDDEN, HIDDEN),
                "ffn_norm.weight": (HIDDEN,),
                "ffn_gate.weight": (FFN, HIDDEN),
                "ffn_up.weight": (FFN, HIDDEN),
                "ffn_down.weight": (HIDDEN, FFN),
            }.items()
        }
    if architecture == "falcon-h1":
        for layer in range(N_LAYERS):
            shapes |= {f"blk.{layer}.{name}": shape for name, shape in _ssm_shapes().items()}
    if architecture == "gemma3":
        head = HIDDEN // N_HEADS
        norms = {"attn_q_norm": head, "attn_k_norm": head, "post_attention_norm": HIDDEN, "post_ffw_norm": HIDDEN}
        for layer in range(N_LAYERS):
            shapes |= {f"blk.{layer}.{name}.weight": (dim,) for name, dim in norms.items()}
    return shapes
