"""How places of pictures are marked in texts. Knows no tensors."""

from __future__ import annotations

import re

MARK = re.compile(r"\[img-(\d{1,4})\]")  # of a picture, by its number, in a prompt
SQUARE = "\ufdd1"  # where the rows of a square stand; no text has this character


def mark(n: int) -> str:
    """Of picture ``n``."""
    return f"[img-{n}]"
