"""The last steps of making a model, whoever makes it: layers from texts, the config, the manifest."""

from __future__ import annotations

from .digests import Digest
from .facts import ModelFacts
from .manifests import Config, Layer, Manifest, MediaType
from .names import Name
from .store import Store

__all__ = ["add_layer", "config_from_facts", "publish"]


def add_layer(store: Store, media_type: str, data: bytes) -> tuple[Layer, bool]:
    """Store ``data`` as a layer; also whether its blob is new. Raises StoreError."""
    digest, is_new = store.blobs.add(data)
    return Layer(media_type, digest, len(data)), is_new


def config_from_facts(facts: ModelFacts) -> Config:
    """What a config says of GGUF weights."""
    return Config(
        model_format="gguf",
        model_family=facts.family,
        model_families=list(facts.families),
        model_type=facts.parameter_size,
        file_type=facts.quantization_level,
    )


def publish(store: Store, name: Name, config: Config, layers: list[Layer]) -> frozenset[Digest]:
    """Write config and manifest. The caller holds the store's lease. Returns what ``remove_unused`` should look at."""
    layer, _ = add_layer(store, MediaType.CONFIG, config.encode())
    return store.put_manifest(name, Manifest.of(layer, layers))
