"""The kinds of model files that weights can be quantized to: their names, numbers and main formats.

Torch-free, as ``mix`` and ``choose`` are: a server checks a request with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidRequest, cut

__all__ = ["FILE_TYPES", "FileType", "find_file_type"]


@dataclass(frozen=True)
class FileType:
    """One row. ``number`` is the value of ``general.file_type`` (llama.h, enum llama_ftype).

    ``format`` is what a tensor gets that no rule of ``mix`` is about.
    """

    name: str
    number: int
    format: str


FILE_TYPES = {
    row.name: row
    for row in (
        FileType("F32", 0, "F32"),
        FileType("F16", 1, "F16"),
        FileType("BF16", 32, "BF16"),
        FileType("Q8_0", 7, "Q8_0"),
        FileType("Q6_K", 18, "Q6_K"),
        FileType("Q5_K_M", 17, "Q5_K"),
        FileType("Q5_K_S", 16, "Q5_K"),
        FileType("Q5_1", 9, "Q5_1"),
        FileType("Q5_0", 8, "Q5_0"),
        FileType("Q4_K_M", 15, "Q4_K"),
        FileType("Q4_K_S", 14, "Q4_K"),
        FileType("Q4_1", 3, "Q4_1"),
        FileType("Q4_0", 2, "Q4_0"),
        FileType("IQ4_NL", 25, "IQ4_NL"),
        FileType("IQ4_XS", 30, "IQ4_XS"),
        FileType("MXFP4_MOE", 38, "MXFP4"),
        FileType("NVFP4", 39, "NVFP4"),
        FileType("Q3_K_L", 13, "Q3_K"),
        FileType("Q3_K_M", 12, "Q3_K"),
        FileType("Q3_K_S", 11, "Q3_K"),
        FileType("IQ3_M", 27, "IQ3_S"),
        FileType("IQ3_S", 26, "IQ3_S"),
        FileType("IQ3_XS", 22, "IQ3_S"),
        FileType("IQ3_XXS", 23, "IQ3_XXS"),
        FileType("Q2_K", 10, "Q2_K"),
        FileType("Q2_K_S", 21, "Q2_K"),
        FileType("IQ2_M", 29, "IQ2_S"),
        FileType("IQ2_S", 28, "IQ2_XS"),
        FileType("IQ2_XS", 20, "IQ2_XS"),
        FileType("IQ2_XXS", 19, "IQ2_XXS"),
        FileType("TQ2_0", 37, "TQ2_0"),
        FileType("TQ1_0", 36, "TQ1_0"),
        FileType("IQ1_M", 31, "IQ1_M"),
        FileType("IQ1_S", 24, "IQ1_S"),
    )
}
# What people say for short, and what llama.cpp understands by it.
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE", "FP16": "F16", "FP32": "F32"}


def find_file_type(name: str) -> FileType:
    """The row of this name, in any case, or what it is short for. Raises InvalidRequest with all names."""
    wanted = name.upper()
    row = FILE_TYPES.get(_ALIASES.get(wanted, wanted))
    if row is None:
        raise InvalidRequest(f"quantization type {cut(name, 40)} is unknown; the types are {', '.join(FILE_TYPES)}")
    return row
