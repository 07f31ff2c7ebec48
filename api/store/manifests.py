"""Manifests and model configs: their JSON, checked while it is decoded. Knows no files.

Layout: Docker image manifests, version 2, schema 2, with Ollama's media types.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field

from gristmill.runtime.errors import InvalidRequest

from .digests import Digest, parse_digest

__all__ = ["Config", "Layer", "Manifest", "MediaType", "decode_config", "decode_manifest"]

MAX_LAYERS = 10_000


class MediaType:
    """What a layer holds. Others occur and are kept."""

    MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
    CONFIG: Final = "application/vnd.docker.container.image.v1+json"
    MODEL: Final = "application/vnd.ollama.image.model"
    PROJECTOR: Final = "application/vnd.ollama.image.projector"
    ADAPTER: Final = "application/vnd.ollama.image.adapter"
    DRAFT: Final = "application/vnd.ollama.image.draft"
    TEMPLATE: Final = "application/vnd.ollama.image.template"
    PROMPT: Final = "application/vnd.ollama.image.prompt"  # an older name of TEMPLATE
    SYSTEM: Final = "application/vnd.ollama.image.system"
    PARAMS: Final = "application/vnd.ollama.image.params"
    MESSAGES: Final = "application/vnd.ollama.image.messages"
    LICENSE: Final = "application/vnd.ollama.image.license"


class Layer(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One blob of a model. ``from_`` (``from`` in JSON) is the model or file it came from."""

    media_type: str
    digest: Digest
    size: Annotated[int, Meta(ge=0, le=2**62)]
    from_: str = field(default="", name="from")
    name: str = ""


class Manifest(Struct, frozen=True, rename="camel"):
    """A model: its config and its layers, in order."""

    schema_version: int
    media_type: str
    config: Layer
    layers: list[Layer]

    @classmethod
    def of(cls, config: Layer, layers: list[Layer]) -> Manifest:
        return cls(schema_version=2, media_type=MediaType.MANIFEST, config=config, layers=layers)

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """Layers and config: everything that must be there."""
        return (*self.layers, self.config)

    @property
    def digests(self) -> frozenset[Digest]:
        return frozenset(blob.digest for blob in self.blobs)

    @property
    def size(self) -> int:
        return sum(blob.size for blob in self.blobs)

    def of_type(self, *media_types: str) -> list[Layer]:
        return [layer for layer in self.layers if layer.media_type in media_types]

    def encode(self) -> bytes:
        return msgspec.json.encode(self, enc_hook=str) + b"\n"


class Config(Struct, frozen=True, kw_only=True):
    """What is known of a model without opening its weights. Texts are empty and lists None where nothing is known."""

    model_format: str = ""
    model_family: str = ""
    model_families: list[str] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: list[str] | None = None
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    draft: dict[str, Any] | None = None
    architecture: str = "amd64"
    os: str = "linux"

    def encode(self) -> bytes:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.json.encode({k: v for k, v in values.items() if v or k in _ALWAYS})


_ALWAYS = frozenset({"model_format", "model_family", "model_families", "model_type", "file_type"})


def _digest(kind: type, value: object) -> Digest:
    assert kind is Digest
    try:
        return parse_digest(value)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


_MANIFEST = msgspec.json.Decoder(Manifest, dec_hook=_digest)


def decode_manifest(data: bytes) -> Manifest:
    """Raises ValueError with the part that is wrong. A digest that is none makes the whole manifest wrong."""
    try:
        manifest = _MANIFEST.decode(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if manifest.schema_version != 2:
        raise ValueError(f"schemaVersion is {manifest.schema_version}, not 2")
    if len(manifest.layers) > MAX_LAYERS:
        raise ValueError(f"{len(manifest.layers)} layers are over the limit of {MAX_LAYERS}")
    return manifest


def decode_config(data: bytes) -> Config:
    """Raises ValueError. Null is as good as absent, and unknown keys (``rootfs`` of old models) are ignored."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
        return msgspec.convert({k: v for k, v in fields.items() if v is not None}, Config)
    except RecursionError:
        raise ValueError("nested too deep") from None
