"""SmolLM 3: one layer of four does not turn q and k."""

from __future__ import annotations

from ..base import Value
from ..hf_family import ATTENTION, MLP, PRE_NORM, Family, layers_are
from ..strict_json import Fields

_STILL_EVERY = 4


def _values(config: Fields) -> dict[str, Value]:
    n_layers = config.integer("num_hidden_layers")
    layers_are(config, "no_rope_layers", [int((layer + 1) % _STILL_EVERY != 0) for layer in range(n_layers)])
    return {}


FAMILIES = {
    "SmolLM3ForCausalLM": Family(
        architecture="smollm3",
        layers={**ATTENTION, **PRE_NORM, **MLP},
        defaults={"rope_theta": 2_000_000.0, "tie_word_embeddings": True},
        values=_values,
        window="off",
        interleaved_rope=True,
    ),
}
