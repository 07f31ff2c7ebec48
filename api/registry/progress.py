"""Lines of progress, in Ollama's form."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ..store import Digest

__all__ = ["Line", "Lines", "progress_line"]

Line = dict[str, Any]
Lines = AsyncGenerator[Line, None]

_N_DIGITS = 12


def progress_line(verb: str, digest: Digest, total: int, completed: int) -> Line:
    """``{"status": "pulling 0123456789ab", "digest": ..., "total": ..., "completed": ...}``, the last one if not 0."""
    line: Line = {"status": f"{verb} {digest.hex[:_N_DIGITS]}", "digest": str(digest), "total": total}
    return {**line, "completed": completed} if completed else line
