"""EXAONE 4: GGUF tells the size with sliding windows by its depth alone."""

from __future__ import annotations

from ..base import Value
from ..hf_family import ATTENTION, MLP, OWN_NORMS, QK_NORM, Family, unsupported
from ..strict_json import Fields

_LAYERS_32B = 64


def _values(config: Fields) -> dict[str, Value]:
    has_window = config.has("sliding_window")
    if has_window != (config.integer("num_hidden_layers") == _LAYERS_32B):
        raise unsupported("sliding_window", config.data.get("sliding_window"))
    return {}


FAMILIES = {
    "Exaone4ForCausalLM": Family(
        architecture="exaone4",
        layers={**ATTENTION, **QK_NORM, **OWN_NORMS, **MLP},
        only={"sliding_window_pattern": (0, 4, "LLLG")},
        values=_values,
        window="pattern",
        full_attention_every=4,
    ),
}
