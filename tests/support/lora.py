"""Random LoRA adapters for the tiny model, as GGUF files."""

import gguf
import numpy as np

from .tiny_model import FFN, HIDDEN, N_HEADS, N_KV_HEADS

KV = HIDDEN // N_HEADS * N_KV_HEADS
SHAPES = {
    "attn_q": (HIDDEN, HIDDEN), "attn_k": (KV, HIDDEN), "attn_v": (KV, HIDDEN), "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN),
}  # fmt: skip


def write(path, tensors, *, architecture="llama", alpha=4.0, kind="adapter", lora="lora"):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", lora)
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def adapter(path, rank, *, modules=tuple(SHAPES), seed=0, alpha=4.0, layers=(0, 1)):
    """(path, what it adds to each weight)"""
    rng = np.random.default_rng(seed)
    tensors, deltas = {}, {}
    for layer in layers:
        for module in modules:
            n_out, n_in = SHAPES[module]
            a = rng.standard_normal((rank, n_in), np.float32) / np.sqrt(n_in)
            b = rng.standard_normal((n_out, rank), np.float32)
            name = f"blk.{layer}.{module}.weight"
            tensors |= {f"{name}.lora_a": a, f"{name}.lora_b": b}
            deltas[name] = (alpha / rank) * (b.astype(np.float64) @ a.astype(np.float64))
    return write(path, tensors, alpha=alpha), deltas
