"""Model files with random weights, for benchmarks: a shape, not a model that anybody trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

N_VOCAB, CONTEXT = 32_768, 4096
SPREAD = 1 / 32  # of weights, as trained ones have it


@dataclass(frozen=True)
class Shape:
    """``matrices`` come in the format of the file, ``floats`` (norms, routers, ...) as F32: those of one dimension are
    ones, decay rates (``ssm_a``) minus one."""

    architecture: str
    keys: Mapping[str, Any]
    matrices: Mapping[str, tuple[int, ...]]
    floats: Mapping[str, tuple[int, ...]]

    @property
    def metadata(self) -> dict[str, Any]:
        keys = {"context_length": CONTEXT, "vocab_size": N_VOCAB, "attention.layer_norm_rms_epsilon": 1e-5, **self.keys}
        named = {f"{self.architecture}.{key}": value for key, value in keys.items()}
        return {"general.architecture": self.architecture, "tokenizer.ggml.model": "no_vocab", **named}


def experts() -> Shape:
    """Mixtral's shape, 357 M weights: of 8 experts 2 serve a token, which reads 130 M weights."""
    layers, hidden, ffn, n_experts, heads, kv_heads = 8, 1024, 1536, 8, 16, 4
    kv = hidden // heads * kv_heads
    matrices = {"token_embd": (N_VOCAB, hidden)}
    floats: dict[str, tuple[int, ...]] = {"output_norm.weight": (hidden,)}
    for layer in range(layers):
        prefix = f"blk.{layer}."
        matrices |= {prefix + f"attn_{name}": (hidden, hidden) for name in ("q", "output")}
        matrices |= {prefix + f"attn_{name}": (kv, hidden) for name in ("k", "v")}
        matrices |= {prefix + f"ffn_{name}_exps": (n_experts, ffn, hidden) for name in ("gate", "up")}
        matrices[prefix + "ffn_down_exps"] = (n_experts, hidden, ffn)
        floats |= {prefix + f"{name}_norm.weight": (hidden,) for name in ("attn", "ffn")}
        floats[prefix + "ffn_gate_inp.weight"] = (n_experts, hidden)
    keys = {
        "block_count": layers,
        "embedding_length": hidden,
        "feed_forward_length": ffn,
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "expert_count": n_experts,
        "expert_used_count": 2,
    }
    return Shape("llama", keys, matrices, floats)


def hybrid() -> Shape:
    """The shape of Granite 4.0 H 350M with a smaller vocabulary, 289 M weights: of 32 layers 28 of Mamba 2."""
    layers, attention, hidden, ffn, heads, kv_heads = 32, (10, 13, 17, 27), 768, 2048, 12, 4
    inner, state, ssm_heads, width = 2 * hidden, 128, 48, 4
    conv, kv = inner + 2 * state, hidden // heads * kv_heads
    matrices = {"token_embd": (N_VOCAB, hidden)}
    floats: dict[str, tuple[int, ...]] = {"output_norm.weight": (hidden,)}
    for layer in range(layers):
        prefix = f"blk.{layer}."
        if layer in attention:
            matrices |= {prefix + f"attn_{name}": (hidden, hidden) for name in ("q", "output")}
            matrices |= {prefix + f"attn_{name}": (kv, hidden) for name in ("k", "v")}
        else:
            matrices |= {prefix + "ssm_in": (inner + conv + ssm_heads, hidden), prefix + "ssm_out": (hidden, inner)}
            floats |= {prefix + "ssm_conv1d.weight": (conv, width), prefix + "ssm_conv1d.bias": (conv,)}
            floats |= {prefix + f"ssm_{name}": (ssm_heads, 1) for name in ("a", "d")}
            floats |= {prefix + "ssm_dt.bias": (ssm_heads,), prefix + "ssm_norm.weight": (1, inner)}
        matrices |= {prefix + f"ffn_{name}": (ffn, hidden) for name in ("gate", "up")}
        matrices[prefix + "ffn_down"] = (hidden, ffn)
        floats |= {prefix + f"{name}_norm.weight": (hidden,) for name in ("attn", "ffn")}
    keys = {
        "block_count": layers,
        "embedding_length": hidden,
        "feed_forward_length": ffn,
        "attention.head_count": heads,
        "attention.head_count_kv": [kv_heads if layer in attention else 0 for layer in range(layers)],
        "rope.dimension_count": hidden // heads,
        "ssm.conv_kernel": width,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": ssm_heads,
        "ssm.group_count": 1,
    }
    return Shape("granitehybrid", keys, matrices, floats)


SHAPES: Mapping[str, Callable[[], Shape]] = {"experts": experts, "hybrid": hybrid}


def write_random(path: Path, kind: str, format_name: str) -> int:
    """A file of one of ``SHAPES``, its matrices in a format of ``gristmill.kernels.FORMATS``; returns its weights."""
    import torch

    from gristmill.kernels import FORMATS
    from gristmill.kernels.encoder import Encoder
    from gristmill.runtime.checkpoint.gguf_writer import TensorPlan, write_gguf

    shape, encode, generator = SHAPES[kind](), Encoder(), torch.Generator().manual_seed(0)
    plans = [TensorPlan(f"{name}.weight", FORMATS[format_name], dims) for name, dims in shape.matrices.items()]
    plans += [TensorPlan(name, FORMATS["F32"], dims) for name, dims in shape.floats.items()]

    def data(plan: TensorPlan) -> list[memoryview]:
        if len(plan.shape) == 1 or plan.name.endswith("ssm_a"):
            values = torch.full(plan.shape, 1.0 if len(plan.shape) == 1 else -1.0)
        else:
            values = torch.randn(plan.shape, generator=generator) * SPREAD
        return [memoryview(encode(values, plan.format).numpy()).cast("B")]

    with open(path, "wb") as file:
        write_gguf(file, shape.metadata, plans, data)
    return sum(torch.Size(plan.shape).numel() for plan in plans)
