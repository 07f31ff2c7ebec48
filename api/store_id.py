"""Which store a server works on, for clients on the same machine: they may then put files there themselves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["STORE_HEADER", "store_id"]

STORE_HEADER = "X-Gristmill-Store"  # of answers about blobs


def store_id(root: Path) -> str:
    """The same for every path to the same folder of this machine, and telling nothing of where it is; "" for none."""
    try:
        info = os.stat(root)
        machine = Path("/etc/machine-id").read_text() if os.path.exists("/etc/machine-id") else ""
    except OSError:
        return ""
    return hashlib.sha256(f"{machine.strip()} {info.st_dev} {info.st_ino}".encode()).hexdigest()[:32]
