"""Tiny random encoders as GGUF files and as Hugging Face tensors, and their forward passes as the papers have them."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch.nn import functional

N_LAYERS, HIDDEN, FFN, N_HEADS, CONTEXT, EPS = 2, 64, 96, 4, 128, 1e-6
HEAD = HIDDEN // N_HEADS
WORDS = ["the", "mill", "stood", "where", "it", "had", "always", "##s", "##ed", "grind", "!", "flour", "grain"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
CLS, SEP = TOKENS.index("[CLS]"), TOKENS.index("[SEP]")


def tensors(architecture: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """All tensors by their GGUF names; norms near one, biases near zero."""
    names = {"bert": _bert_shapes, "nomic-bert": _nomic_shapes, "gemma-embedding": _gemma_shapes}[architecture]()
    generator = torch.Generator().manual_seed(seed)

    def values(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        x = torch.randn(shape, generator=generator)
        if name.endswith("norm.weight"):
            return 1 + 0.1 * x
        return 0.1 * x if len(shape) == 1 else x * 1.5 / math.sqrt(shape[-1])

    return {name: values(name, shape) for name, shape in names.items()}


def _layers(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"blk.{layer}.{name}": shape for layer in range(N_LAYERS) for name, shape in shapes.items()}


def _norms(*names: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (HIDDEN,) for name in names for part in ("weight", "bias")}


def _linears(**sizes: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": size for name, size in sizes.items()}


def _bert_shapes() -> dict[str, tuple[int, ...]]:
    square = (HIDDEN, HIDDEN)
    linears = _linears(
        attn_q=square, attn_k=square, attn_v=square, attn_output=square, ffn_up=(FFN, HIDDEN), ffn_down=(HIDDEN, FFN)
    )
    biases = {name.replace("weight", "bias"): shape[:1] for name, shape in linears.items()}
    tops = {
        "token_embd.weight": (len(TOKENS), HIDDEN),
        "token_types.weight": (2, HIDDEN),
        "position_embd.weight": (CONTEXT, HIDDEN),
    }
    norms = _norms("attn_output_norm", "layer_output_norm")
    return tops | _norms("token_embd_norm") | _layers(linears | biases | norms)


def _nomic_shapes() -> dict[str, tuple[int, ...]]:
    linears = _linears(
        attn_qkv=(3 * HIDDEN, HIDDEN), attn_output=(HIDDEN, HIDDEN), ffn_up=(FFN, HIDDEN), ffn_gate=(FFN, HIDDEN),
        ffn_down=(HIDDEN, FFN),
    )  # fmt: skip
    tops = {"token_embd.weight": (len(TOKENS), HIDDEN), "token_types.weight": (2, HIDDEN)}
    return tops | _norms("token_embd_norm") | _layers(linears | _norms("attn_output_norm", "layer_output_norm"))


def _gemma_shapes() -> dict[str, tuple[int, ...]]:
    kv = (HIDDEN // 2, HIDDEN)
    linears = _linears(
        attn_q=(HIDDEN, HIDDEN), attn_k=kv, attn_v=kv, attn_output=(HIDDEN, HIDDEN), ffn_gate=(FFN, HIDDEN),
        ffn_up=(FFN, HIDDEN), ffn_down=(HIDDEN, FFN),
    )  # fmt: skip
    norms = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
    shapes = {f"{name}.weight": (HIDDEN,) for name in norms}
    heads: dict[str, tuple[int, ...]] = {f"attn_{x}_norm.weight": (HEAD,) for x in "qk"}
    tops = {"token_embd.weight": (len(TOKENS), HIDDEN), "output_norm.weight": (HIDDEN,)}
    dense = {"dense_2.weight": (2 * HIDDEN, HIDDEN), "dense_3.weight": (HIDDEN, 2 * HIDDEN)}
    return tops | dense | _layers(linears | shapes | heads)


def write_encoder(
    path: Path,
    architecture: str,
    *,
    pooling: int | None = 1,
    window: int = 0,
    extra: dict[str, torch.Tensor] | None = None,
    seed: int = 0,
) -> Path:
    """A GGUF file of float32 with a WordPiece vocabulary."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(N_HEADS)
    writer.add_causal_attention(False)
    if architecture == "gemma-embedding":
        writer.add_head_count_kv(N_HEADS // 2)
        writer.add_layer_norm_rms_eps(EPS)
        writer.add_sliding_window(window)
    else:
        writer.add_layer_norm_eps(EPS)
    if architecture == "nomic-bert":
        writer.add_rope_freq_base(1000.0)
    if pooling is not None:
        writer.add_uint32(f"{architecture}.pooling_type", pooling)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([t[2:] if t.startswith("##") else t if t[0] == "[" else "\u2581" + t for t in TOKENS])
    writer.add_token_types([3] * 5 + [1] * len(WORDS))
    writer.add_uint32("tokenizer.ggml.cls_token_id", CLS)
    writer.add_uint32("tokenizer.ggml.seperator_token_id", SEP)
    writer.add_unk_token_id(TOKENS.index("[UNK]"))
    for name, values in (tensors(architecture, seed) | (extra or {})).items():
        writer.add_tensor(name, values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# -- the forward passes, of one text, on tensors by their GGUF names ----------------------------------------------


def states(
    architecture: str,
    w: dict[str, torch.Tensor],
    ids: list[int],
    *,
    window: int = 0,
    eps: float = EPS,
    n_heads: int = N_HEADS,
) -> torch.Tensor:
    """The last layer's output (len(ids), hidden), in float64."""
    w = {name: values.double() for name, values in w.items()}
    if architecture == "gemma-embedding":
        return _gemma(w, ids, window)
    return _bert(w, ids, eps=eps, n_heads=n_heads, is_nomic=architecture == "nomic-bert")


def _bert(w: dict[str, torch.Tensor], ids: list[int], *, eps: float, n_heads: int, is_nomic: bool) -> torch.Tensor:
    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)

    x = w["token_embd.weight"][ids] + w["token_types.weight"][0]
    x = norm("token_embd_norm", x if is_nomic else x + w["position_embd.weight"][: len(ids)])
    for layer in range(sum(name.endswith("ffn_up.weight") for name in w)):
        p = f"blk.{layer}."
        qkv = linear(f"{p}attn_qkv", x).chunk(3, -1) if is_nomic else [linear(f"{p}attn_{part}", x) for part in "qkv"]
        q, k, v = (part.reshape(len(ids), n_heads, -1).transpose(0, 1) for part in qkv)
        if is_nomic:
            q, k = turned(q, 1000.0), turned(k, 1000.0)
        heads = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        x = norm(f"{p}attn_output_norm", x + linear(f"{p}attn_output", heads.transpose(0, 1).flatten(1)))
        up = linear(f"{p}ffn_up", x)
        inner = functional.silu(linear(f"{p}ffn_gate", x)) * up if is_nomic else up * 0.5 * (1 + (up / 2**0.5).erf())
        x = norm(f"{p}layer_output_norm", x + linear(f"{p}ffn_down", inner))
    return x


def _gemma(w: dict[str, torch.Tensor], ids: list[int], window: int) -> torch.Tensor:
    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * w[f"{name}.weight"]

    n = len(ids)
    distance = (torch.arange(n)[:, None] - torch.arange(n)[None, :]).abs()
    hidden = distance > window // 2 if window else torch.zeros(n, n, dtype=torch.bool)
    base = 10_000.0  # both layers are among the five of six with a window
    x = w["token_embd.weight"][ids] * math.sqrt(HIDDEN)
    for layer in range(N_LAYERS):
        p = f"blk.{layer}."
        h = norm(f"{p}attn_norm", x)
        q, k, v = ((h @ w[f"{p}attn_{part}.weight"].T).reshape(n, -1, HEAD).transpose(0, 1) for part in "qkv")
        q, k = turned(norm(f"{p}attn_q_norm", q), base), turned(norm(f"{p}attn_k_norm", k), base)
        k, v = k.repeat_interleave(2, 0), v.repeat_interleave(2, 0)
        scores = (q @ k.transpose(1, 2) / math.sqrt(HEAD)).masked_fill(hidden, float("-inf"))
        heads = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
        x = x + norm(f"{p}post_attention_norm", heads @ w[f"{p}attn_output.weight"].T)
        h = norm(f"{p}ffn_norm", x)
        gate = functional.gelu(h @ w[f"{p}ffn_gate.weight"].T, approximate="tanh")
        x = x + norm(f"{p}post_ffw_norm", (gate * (h @ w[f"{p}ffn_up.weight"].T)) @ w[f"{p}ffn_down.weight"].T)
    return norm("output_norm", x)


def turned(x: torch.Tensor, base: float) -> torch.Tensor:
    """Rotary embedding of halves against each other; x (heads, tokens, dim)."""
    dim = x.shape[-1]
    angles = torch.arange(x.shape[1])[:, None] * base ** (-torch.arange(0, dim, 2).double() / dim)
    a, b = x.chunk(2, -1)
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)
