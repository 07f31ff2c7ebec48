"""What this machine offers, read from the system without torch: processor, cores, memory, disk.

Each function takes the files it reads as arguments with the system's as defaults. Knows no model.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")

# The flags of /proc/cpuinfo that decide how fast quantized products are.
_FEATURES = {
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "dot product",
    "i8mm": "i8mm",
    "sve": "SVE",
}


@dataclass(frozen=True)
class Processor:
    name: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class Memory:
    """Bytes this process could still get, and bytes there are for it in all."""

    free: int
    total: int


def processor(cpuinfo: Path = CPUINFO) -> Processor:
    """The first processor's name and the features that matter; where the system lists none, just the name."""
    fields: dict[str, str] = {}
    for line in _read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", "")).split()
    name = fields.get("model name") or platform.processor() or platform.machine()
    return Processor(name, tuple(text for flag, text in _FEATURES.items() if flag in flags))


def cores(cgroup: Path = CGROUP) -> int:
    """Cores this process may use: of its affinity mask, within its control group's quota."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    return min(n, max(math.ceil(int(quota) / int(period)), 1)) if quota.isdigit() else n


def memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> Memory | None:
    """The system's memory within the control group's limit. None where the system does not say."""
    fields = {line.partition(":")[0]: line.split() for line in _read(meminfo).splitlines()}
    try:
        free, total = (int(fields[key][1]) * 1024 for key in ("MemAvailable", "MemTotal"))
    except (KeyError, IndexError, ValueError):
        return None
    limit, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        total = min(total, int(limit))
        free = min(free, max(int(limit) - int(used), 0))
    return Memory(free, total)


def free_disk(folder: Path) -> int:
    """Bytes free where ``folder`` is, or would be made. Raises OSError."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """``folder``, or the nearest folder above it that is there."""
    return next((place for place in (folder, *folder.parents) if place.exists()), Path.cwd())


def count_models(store: Path) -> int:
    """Manifests in a model folder, readable or not."""
    return sum(path.is_file() for path in (store / "manifests").glob("*/*/*/*"))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
