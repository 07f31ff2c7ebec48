"""How much memory a model will need, and how much there is. Reads headers and the system's figures, never weights."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gristmill.runtime.states import n_snapshots

if TYPE_CHECKING:
    from gristmill.runtime.checkpoint import GgufHeader

# Bytes of one element in the cache, scales included; ``kernels.kv`` has the same figures, with torch.
KV_BYTES: Mapping[str, float] = MappingProxyType(
    {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1 + 2 / 32, "q4_0": 0.5 + 2 / 32}
)
_GROUP_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
_CONVOLUTIONS = (  # weights (channels, width): the last width - 1 inputs are kept
    "ssm_conv1d.weight",
    "ssm_conv1d_q.weight",
    "ssm_conv1d_k.weight",
    "ssm_conv1d_v.weight",
    "shortconv.conv.weight",
)
_RECURRENT = ("ssm_conv1d.weight", "ssm_conv1d_q.weight")  # one of these in each layer with a state
PROCESS_BYTES = 320 << 20  # a runner without a model, and what it computes with
WEIGHT_FACTOR = 1.05  # packed rows are a little larger than the file's


@dataclass(frozen=True)
class Demand:
    """Bytes that a model needs whatever its context is, and for each token of context that its cache holds."""

    fixed: int = 0
    per_token: float = 0.0

    def total(self, n_tokens: int) -> int:
        return math.ceil(self.fixed + self.per_token * n_tokens)


def demand(weight_bytes: int, cache_elements: int, kv_type: str) -> Demand:
    """What a model with these facts (``store.facts``) needs."""
    return Demand(int(weight_bytes * WEIGHT_FACTOR) + PROCESS_BYTES, cache_elements * KV_BYTES.get(kv_type, 2.0))


def states_bytes(state_elements: int, n_slots: int) -> int:
    """What ``n_slots`` sequences at once keep beside the cache (float32), and the snapshots that others go on from."""
    n_bytes = 4 * state_elements
    return n_bytes * (n_slots + n_snapshots(n_bytes))


def draft_bytes(weight_bytes: int, cache_elements: int, kv_type: str, num_ctx: int) -> int:
    """What a draft model with these facts needs in the same process: its cache always holds two contexts."""
    cache = 2 * num_ctx * cache_elements * KV_BYTES.get(kv_type, 2.0)
    return math.ceil(weight_bytes * WEIGHT_FACTOR + cache)


def projector_bytes(header: GgufHeader) -> int:
    """What a projector needs in the same process: its weights, and what it computes with for one square."""
    width, ffn = (_count(header, f"vision.{key}") for key in ("embedding_length", "feed_forward_length"))
    n_patches = (_count(header, "vision.image_size") // (_count(header, "vision.patch_size") or 1)) ** 2
    work = 4 * min(n_patches, 1 << 16) * (8 * width + 2 * ffn)
    return math.ceil(sum(info.n_bytes for info in header.tensors.values()) * WEIGHT_FACTOR) + work


def cache_elements(header: GgufHeader) -> int:
    """Numbers in keys and values of one token, all layers. What a header does not say counts as nothing."""
    n_heads = _count(header, "attention.head_count")
    head_dim = _count(header, "embedding_length") // n_heads if n_heads else 0
    width = _count(header, "attention.key_length") or head_dim
    if not _count(header, "attention.key_length_mla"):  # else latent attention, whose keys hold the values
        width += _count(header, "attention.value_length") or head_dim
    by_layer = _counts(header, "attention.head_count_kv")
    if len(by_layer) > 1:
        return width * sum(by_layer)
    n_layers = _count(header, "block_count") // (_count(header, "full_attention_interval") or 1)
    return width * (sum(by_layer) or n_heads) * n_layers


def state_elements(header: GgufHeader) -> int:
    """Numbers in the states that recurrent layers keep of a sequence. What a header does not say counts as nothing."""
    convolutions = [info.shape for name, info in header.tensors.items() if name.endswith(_CONVOLUTIONS)]
    inputs = sum(math.prod(shape[:-1]) * (shape[-1] - 1) for shape in convolutions)
    n_layers = sum(name.endswith(_RECURRENT) for name in header.tensors)
    per_layer = _count(header, "kda.head_dim") ** 2 * _count(header, "attention.head_count")
    return inputs + n_layers * (per_layer or _count(header, "ssm.inner_size") * _count(header, "ssm.state_size"))


def _counts(header: GgufHeader, key: str) -> list[int]:
    """Of the file's architecture; of a list with a number for each layer all, what is none as 0."""
    value = header.metadata.get(f"{header.metadata.get('general.architecture')}.{key}")
    numbers = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    return [n if isinstance(n, int) and n > 0 else 0 for n in numbers]


def _count(header: GgufHeader, key: str) -> int:
    """The highest of ``_counts``."""
    return max(_counts(header, key), default=0)


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that new processes can take without swapping, the container's limit included. None where unknown."""
    found = [n for n in (_free_memory(root), _free_in_group(root)) if n is not None]
    return min(found, default=None)


def _free_memory(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return _physical_memory()
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(kib) * 1024 if kib else None


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _free_in_group(root: Path) -> int | None:
    """Limit less use of this process's control group and those above it; file pages can be given up."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    free = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        names = _GROUP_FILES[bool(controllers)]
        folder = base / path.lstrip("/")
        for group in [folder, *folder.parents]:
            if not group.is_relative_to(base):
                break
            free.append(_group_free(group, *names))
    return min((n for n in free if n is not None), default=None)


def _group_free(group: Path, limit_name: str, usage_name: str) -> int | None:
    try:
        limit, usage = (group / limit_name).read_text().strip(), (group / usage_name).read_text().strip()
        stat = (group / "memory.stat").read_text().split()
    except OSError:
        return None
    if not limit.isdigit() or int(limit) >= 1 << 60:  # "max", and what version 1 writes for it
        return None
    values = dict(zip(stat[::2], stat[1::2], strict=False))
    return int(limit) - int(usage) + int(values.get("inactive_file", 0))
