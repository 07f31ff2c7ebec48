"""How many threads this process should compute with."""

from __future__ import annotations

import math
import os
from pathlib import Path


def physical_cores() -> int:
    """Physical cores that this process may use: its affinity and its control group's quota are honoured."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    threads = os.sched_getaffinity(0)
    cores = {_core_of(thread) for thread in threads}
    return max(1, min(len(cores), _quota(Path("/sys/fs/cgroup"))))


def _core_of(thread: int) -> tuple[str, ...]:
    """What names the physical core of a hardware thread; the thread itself where the system does not tell."""
    topology = Path(f"/sys/devices/system/cpu/cpu{thread}/topology")
    try:
        return tuple((topology / name).read_text().strip() for name in ("physical_package_id", "core_id"))
    except OSError:
        return (str(thread),)


def _quota(group: Path) -> int:
    """Whole cores that a control group (version 2) allows, rounded up; a large number where there is no limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such group, or "max"
        return 1 << 16
