"""What GGUF says of each token besides its text. Knows no algorithm."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["TokenKind"]


class TokenKind(IntEnum):
    """Values of ``tokenizer.ggml.token_type`` (gguf.md in the ggml repository)."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6
