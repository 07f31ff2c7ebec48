"""Random LoRA adapters as GGUF files, and models with them merged into their weights."""

import shutil

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


def merged(path, source, *deltas):
    """The model at ``source``, of float32, with the weights that it has with adapters."""
    shutil.copy(source, path)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        mine = [delta[tensor.name] for delta in deltas if tensor.name in delta]
        if mine:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
            tensor.data[:] = (tensor.data.astype(np.float64) + sum(mine)).astype(np.float32)
    return path


def unscaled(path, source):
    """The model at ``source`` with all scales beside its weights 1: others would scale what is merged, too."""
    shutil.copy(source, path)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.name.endswith(".scale"):
            tensor.data[:] = 1.0
    return path


def adapter_of(path, shapes, architecture, *, seed=0, alpha=4.0):
    """(path, what it adds to each weight): an adapter of all matrices with ``shapes``, of ranks 1, 3 and 8."""
    rng = np.random.default_rng(seed)
    tensors, deltas = {}, {}
    for i, (name, shape) in enumerate(shapes.items()):
        rank, (*stack, n_out, n_in) = (1, 3, 8)[i % 3], shape
        a = rng.standard_normal((*stack, rank, n_in), np.float32) / np.sqrt(n_in)
        b = 0.2 * rng.standard_normal((*stack, n_out, rank), np.float32)
        deltas[name] = (alpha / rank) * (b.astype(np.float64) @ a.astype(np.float64))
        if name == "token_embd.weight":  # (n_vocab, hidden): A is looked up
            a, b = b, a.swapaxes(-1, -2).copy()
        tensors |= {f"{name}.lora_a": a, f"{name}.lora_b": b}
    return write(path, tensors, architecture=architecture, alpha=alpha), deltas


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
