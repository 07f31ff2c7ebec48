"""Classes of Hugging Face models, found by being here: each file's ``FAMILIES`` has a row per class name.

How a row says what a class is: ``hf_family``.
"""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache

from ...errors import UnsupportedModel, cut
from ..hf_family import Family
from ..strict_json import Fields

__all__ = ["families", "family_of"]

_EXAMPLES = "LlamaForCausalLM, Qwen3ForCausalLM and others (docs/architectures.md)"


@cache
def families() -> dict[str, Family]:
    """Every class that folders open for, by its name in config.json's "architectures"."""
    table: dict[str, Family] = {}
    for info in pkgutil.iter_modules(__path__):
        table |= importlib.import_module(f"{__name__}.{info.name}").FAMILIES
    return table


def family_of(config: Fields) -> Family:
    """The row for this model. Raises UnsupportedModel for a class that has none."""
    classes = config.items("architectures")
    name = classes[0] if len(classes) == 1 and isinstance(classes[0], str) else ""
    if name not in families():
        like = get_close_matches(name, families(), cutoff=0.7)
        known = f"{len(families())} classes, those most like it: {', '.join(like)}" if like else "one of " + _EXAMPLES
        raise UnsupportedModel(f"config.json: architectures {cut(classes)} is not supported; supported: {known}")
    return families()[name]
