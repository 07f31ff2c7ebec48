"""A LoRA adapter (Hu et al., arXiv:2106.09685) from PEFT's folder to llama.cpp's GGUF form.

    base_model.model.<module>.lora_A.weight  (rank, in)   ->  <tensor>.weight.lora_a
    base_model.model.<module>.lora_B.weight  (out, rank)  ->  <tensor>.weight.lora_b

What is scaled by lora_alpha / rank there is so here: the file holds ``adapter.lora.alpha``, the tensors the rank.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.kernels.formats import FORMATS

from ..checkpoint import Value
from ..checkpoint.families import families
from ..checkpoint.gguf_writer import Sink, TensorPlan, write_gguf
from ..checkpoint.hf_family import Family
from ..checkpoint.names import gguf_targets
from ..checkpoint.transforms import Sizes, interleaved_rows
from ..errors import InvalidFile, UnsupportedModel, cut

if TYPE_CHECKING:
    import torch

__all__ = ["convert_adapter"]

_NAME = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
_CONFIG, _MAX_CONFIG_BYTES = "adapter_config.json", 1 << 20
_FILES = ("adapter_model.safetensors", "adapters.safetensors")


def convert_adapter(folder: Path, base: Mapping[str, Value], file: Sink) -> None:
    """Write the adapter in ``folder`` for the model with metadata ``base``.

    Raises InvalidFile for a malformed one, UnsupportedModel for one that is not LoRA, or whose modules the base's
    architecture has no tensors for.
    """
    architecture = base.get("general.architecture")
    known_families = [row for row in families().values() if not row.is_encoder]
    family = next((row for row in known_families if row.architecture == architecture), None)
    if family is None:
        known = ", ".join(sorted({row.architecture for row in known_families}))
        raise UnsupportedModel(f"unsupported architecture {cut(architecture)} of an adapter's base; supported: {known}")
    config = _config(folder)
    tensors = dict(_tensors(folder, base, family))
    if not tensors:
        raise InvalidFile("the adapter holds no pair of lora_A and lora_B")
    metadata: dict[str, Value] = {
        "general.architecture": family.architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": _alpha(config, tensors),
    }
    plans = [TensorPlan(name, FORMATS["F32"], tuple(tensor.shape)) for name, tensor in tensors.items()]
    write_gguf(file, metadata, plans, lambda plan: [_bytes(tensors[plan.name])])


def _bytes(tensor: torch.Tensor) -> memoryview:
    array: Any = tensor.numpy()
    return memoryview(array).cast("B")


def _config(folder: Path) -> dict[str, Any]:
    try:
        data = (folder / _CONFIG).read_bytes()[: _MAX_CONFIG_BYTES + 1]
        config = json.loads(data)
    except FileNotFoundError:
        raise InvalidFile(f"an adapter needs {_CONFIG}") from None
    except (OSError, ValueError, RecursionError):
        raise InvalidFile(f"{_CONFIG} is not JSON") from None
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA":
        raise UnsupportedModel(f"{_CONFIG}: only LoRA adapters are supported")
    for key in ("use_dora", "alora_invocation_tokens", "modules_to_save"):
        if config.get(key):
            raise UnsupportedModel(f"{_CONFIG}: {key} is not supported")
    return config


def _alpha(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> float:
    """Such that alpha / rank is the scale; with ``use_rslora`` that is lora_alpha / sqrt(rank) (arXiv:2312.03732)."""
    alpha = config.get("lora_alpha", (config.get("lora_parameters") or {}).get("scale"))
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise InvalidFile(f"{_CONFIG}: lora_alpha must be a number")
    rank = next(tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".lora_a"))
    return float(alpha) * math.sqrt(rank) if config.get("use_rslora") else float(alpha)


def _tensors(folder: Path, base: Mapping[str, Value], family: Family) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise InvalidFile(f"an adapter needs {_FILES[0]}")
    try:
        with safe_open(path, framework="pt") as opened:
            found: dict[tuple[str, str], torch.Tensor] = {}
            for name in sorted(opened.keys()):
                match = _NAME.fullmatch(name)
                if match is None:
                    raise UnsupportedModel(f"tensor {cut(name)} is no part of a LoRA adapter")
                found[_target(match["module"], base, family), match["side"]] = opened.get_tensor(name).float()
    except SafetensorError:
        raise InvalidFile(f"{path.name} is not a safetensors file") from None
    for target, side in sorted(found):
        if (target, "A" if side == "B" else "B") not in found:
            raise InvalidFile(f"the adapter has only one of lora_A and lora_B for {cut(target)}")
        tensor = found[target, side]
        if side == "B" and family.interleaved_rope:
            tensor = _interleaved(tensor, target, base)
        yield f"{target}.lora_{side.lower()}", tensor.contiguous()


def _target(module: str, base: Mapping[str, Value], family: Family) -> str:
    count = base.get(f"{family.architecture}.block_count")
    n_layers = count if isinstance(count, int) else 0
    try:
        targets = gguf_targets(f"{module}.weight", family.scheme, family.layers, n_layers)
    except KeyError:
        targets = []
    if len(targets) != 1 or targets[0].member is not None or targets[0].make is not None:
        raise UnsupportedModel(f"module {cut(module)} of the adapter is not one of architecture {family.architecture}")
    return targets[0].name


def _interleaved(tensor: torch.Tensor, target: str, base: Mapping[str, Value]) -> torch.Tensor:
    """Rows of q and k in GGUF's order: the pairs that turn together side by side."""
    sizes = Sizes.of(base, str(base["general.architecture"]))
    n_heads = {"attn_q": sizes.n_heads, "attn_k": sizes.n_kv_heads}.get(target.rsplit(".", 2)[-2])
    if n_heads is None:
        return tensor
    if tensor.shape[0] != n_heads * sizes.head_dim or not 0 < sizes.rope_dim <= sizes.head_dim or sizes.rope_dim % 2:
        raise InvalidFile(f"the adapter's rows for {cut(target)} do not fit the base model's heads")
    return interleaved_rows(tensor, n_heads, sizes.rope_dim)
