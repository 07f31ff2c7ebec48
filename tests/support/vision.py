"""Tiny random projector files, and models and pictures to go with them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

HIDDEN, FFN, N_HEADS, N_LAYERS = 32, 48, 2, 2
METADATA = {
    "clip.has_vision_encoder": True,
    "clip.vision.patch_size": 8,
    "clip.vision.embedding_length": HIDDEN,
    "clip.vision.feed_forward_length": FFN,
    "clip.vision.block_count": N_LAYERS,
    "clip.vision.attention.head_count": N_HEADS,
    "clip.vision.attention.layer_norm_epsilon": 1e-6,
    "clip.vision.image_mean": [0.5, 0.5, 0.5],
    "clip.vision.image_std": [0.5, 0.5, 0.5],
    "clip.use_gelu": True,
}
# Picture size in pixels and what else the file says.
KINDS: dict[str, dict[str, Any]] = {
    "gemma3": {"clip.vision.image_size": 64, "clip.vision.projector.scale_factor": 2},
    "idefics3": {
        "clip.vision.image_size": 32,
        "clip.vision.projector.scale_factor": 2,
        "clip.vision.preproc_image_size": 64,
    },
    "mlp": {"clip.vision.image_size": 32, "clip.use_gelu": False},
}
N_ROWS = {"gemma3": 16, "idefics3": 4, "mlp": 16}


def metadata(kind: str, **changes: Any) -> dict[str, Any]:
    """Of a projector file; ``changes`` replace values: ``__`` in a name is a point, None leaves the key out."""
    values = METADATA | {"clip.projector_type": kind} | KINDS[kind]
    values |= {f"clip.{key.replace('__', '.')}": value for key, value in changes.items()}
    return {key: value for key, value in values.items() if value is not None}


def tensors(kind: str, text_hidden: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """All tensors of a projector file by name."""
    generator = torch.Generator().manual_seed(seed)
    side = KINDS[kind]["clip.vision.image_size"] // 8
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (HIDDEN, 3, 8, 8),
        "v.patch_embd.bias": (HIDDEN,),
        "v.position_embd.weight": (side**2 + (kind == "mlp"), HIDDEN),
    }
    sizes = {f"attn_{x}": (HIDDEN, HIDDEN) for x in ("q", "k", "v", "out")}
    sizes |= {"ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN)}
    for layer in range(N_LAYERS):
        for name, shape in sizes.items():
            shapes |= {f"v.blk.{layer}.{name}.weight": shape, f"v.blk.{layer}.{name}.bias": shape[:1]}
        for norm in ("ln1", "ln2"):
            shapes |= {f"v.blk.{layer}.{norm}.{part}": (HIDDEN,) for part in ("weight", "bias")}
    shapes |= _ends(kind, text_hidden)

    def values(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        x = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            return 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
        return x * shape[0] ** -0.5

    return {name: values(name, shape) for name, shape in shapes.items()}


def _ends(kind: str, text_hidden: int) -> dict[str, tuple[int, ...]]:
    if kind == "gemma3":
        post = {f"v.post_ln.{part}": (HIDDEN,) for part in ("weight", "bias")}
        return post | {"mm.soft_emb_norm.weight": (HIDDEN,), "mm.input_projection.weight": (HIDDEN, text_hidden)}
    if kind == "idefics3":
        post = {f"v.post_ln.{part}": (HIDDEN,) for part in ("weight", "bias")}
        return post | {"mm.model.fc.weight": (text_hidden, HIDDEN * 4)}
    pre = {f"v.pre_ln.{part}": (HIDDEN,) for part in ("weight", "bias")}
    linears = {"mm.0.weight": (text_hidden, HIDDEN), "mm.2.weight": (text_hidden, text_hidden)}
    biases = {name.replace("weight", "bias"): shape[:1] for name, shape in linears.items()}
    return pre | {"v.class_embd": (HIDDEN,)} | linears | biases


def write_projector(path: Path, values: dict[str, Any], weights: dict[str, torch.Tensor]) -> Path:
    """A GGUF file of float32 with this metadata and these tensors."""
    import gguf

    writer = gguf.GGUFWriter(path, values.get("general.architecture", "clip"))
    writer.add_type("mmproj")
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for key, value in values.items():
        if key != "general.architecture":
            add.get(type(value), writer.add_array)(key, value)
    for name, tensor in weights.items():
        writer.add_tensor(name, tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_tiny_projector(path: Path, kind: str, text_hidden: int, *, seed: int = 0, **changes: Any) -> Path:
    return write_projector(path, metadata(kind, **changes), tensors(kind, text_hidden, seed))


def noise(width: int, height: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(width: int = 20, height: int = 12, seed: int = 0) -> bytes:
    """A picture file of random pixels."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(noise(width, height, seed)).save(file, "PNG")
    return file.getvalue()
