"""One model of the store: its manifest, and what its layers say. Opens files only when asked.

Knows no folders of manifests: finding models is the store's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gristmill.runtime.errors import ModelError, UnsupportedModel, cut, is_shortage

from .blobs import BlobFolder
from .errors import CorruptManifest, store_error
from .facts import FactsCache, ModelFacts
from .manifests import Config, Layer, Manifest, MediaType, decode_config
from .names import Name

if TYPE_CHECKING:
    from gristmill.runtime.checkpoint import GgufHeader

__all__ = ["MAX_CONFIG_BYTES", "MAX_TEXT_BYTES", "StoredModel"]

T = TypeVar("T")

MAX_TEXT_BYTES = 16 << 20
MAX_CONFIG_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model as it was when it was looked up. ``digest`` is the SHA-256 of the manifest, in hex.

    Whatever reads a blob raises CorruptManifest if that is missing or not what it should be, and StoreBusy.
    """

    name: Name
    digest: str
    modified_ns: int
    manifest: Manifest
    _blobs: BlobFolder
    _facts: FactsCache

    @property
    def size(self) -> int:
        """Bytes of all its blobs, those shared with other models included."""
        return self.manifest.size

    @property
    def modified_at(self) -> datetime:
        """In local time, with its offset."""
        return datetime.fromtimestamp(self.modified_ns / 1e9).astimezone()

    @cached_property
    def config(self) -> Config:
        return self._decoded(self.manifest.config, decode_config, MAX_CONFIG_BYTES)

    @property
    def layers(self) -> list[Layer]:
        return self.manifest.layers

    @cached_property
    def model_path(self) -> Path:
        """The file with the weights. Raises UnsupportedModel for a model that is not one GGUF file."""
        weights = self.manifest.of_type(MediaType.MODEL)
        if len(weights) != 1:
            raise UnsupportedModel(
                f"model {cut(self.name.short)} has {len(weights)} layers of GGUF weights; it must be one"
            )
        return self._blobs.file(weights[0].digest)

    @property
    def adapter_paths(self) -> list[Path]:
        """Files of LoRA adapters; all of them count."""
        return [self._blobs.file(layer.digest) for layer in self.manifest.of_type(MediaType.ADAPTER)]

    @property
    def draft_path(self) -> Path | None:
        """The file with the weights of a smaller model that guesses tokens, if there is one."""
        drafts = self.manifest.of_type(MediaType.DRAFT)
        return self._blobs.file(drafts[0].digest) if drafts else None

    def draft_facts(self) -> ModelFacts:
        """What the header of the file at ``draft_path`` says. The first call reads it; raises as ``facts`` does."""
        assert self.draft_path is not None
        return self._facts.facts(self.draft_path)

    @property
    def projector_paths(self) -> list[Path]:
        return [self._blobs.file(layer.digest) for layer in self.manifest.of_type(MediaType.PROJECTOR)]

    @property
    def projector_path(self) -> Path | None:
        """The file with which the model looks at pictures, if there is one."""
        return next(iter(self.projector_paths), None)

    def projector_header(self) -> GgufHeader | None:
        """What the projector's file says of itself; None without one. Raises ModelError as ``facts`` does."""
        return None if self.projector_path is None else self._facts.header(self.projector_path)

    @property
    def parent_model(self) -> str:
        """The model that this one's weights were taken from, if any."""
        weights = self.manifest.of_type(MediaType.MODEL)
        return weights[0].from_ if weights else ""

    @property
    def template(self) -> str:
        """The Go template, or nothing."""
        return "".join(self._texts(MediaType.TEMPLATE, MediaType.PROMPT)[-1:])

    @property
    def system(self) -> str:
        return "".join(self._texts(MediaType.SYSTEM)[-1:])

    @property
    def licenses(self) -> list[str]:
        return self._texts(MediaType.LICENSE)

    @property
    def license(self) -> str:
        return "\n".join(self.licenses)

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """Options that requests start from, as stored. Every request asks for them, so they are read once."""
        found: dict[str, Any] = {}
        for layer in self.manifest.of_type(MediaType.PARAMS):
            found |= self._decoded(layer, lambda data: msgspec.json.decode(data, type=dict[str, Any]))
        return {name: value for name, value in found.items() if value is not None}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation that every chat starts with."""
        found: list[dict[str, Any]] = []
        for layer in self.manifest.of_type(MediaType.MESSAGES):
            found += self._decoded(layer, _messages)
        return found

    def facts(self) -> ModelFacts:
        """What the weights' header says, with ``capabilities`` of the whole model. The first call reads the file.

        Raises ModelError for weights that cannot be used.
        """
        facts = self._facts.facts(self.model_path)
        listed = list(self.config.capabilities or ()) + list(facts.capabilities)
        if self.manifest.of_type(MediaType.PROJECTOR):
            listed.append("vision")
            if self._hears():
                listed.append("audio")
        if self.config.model_family in ("gptoss", "gpt-oss"):
            listed.append("thinking")
        unique = tuple(dict.fromkeys(listed))
        return facts if unique == facts.capabilities else replace(facts, capabilities=unique)

    def _hears(self) -> bool:
        try:
            header = self.projector_header()
        except ModelError:
            return False
        return header is not None and bool(header.metadata.get("clip.has_audio_encoder"))

    def _texts(self, *media_types: str) -> list[str]:
        return [self._decoded(layer, _text) for layer in self.manifest.of_type(*media_types)]

    def _decoded(self, layer: Layer, decode: Callable[[bytes], T], limit: int = MAX_TEXT_BYTES) -> T:
        try:
            return decode(self._blobs.read(layer.digest, limit))
        except OSError as error:
            if is_shortage(error):
                raise store_error("read from the model store", error) from error
            reason = error.strerror or str(error)
        except (ValueError, RecursionError) as error:
            reason = str(error)
        raise CorruptManifest(self.name.short, f"blob {layer.digest}: {reason}")


def _messages(data: bytes) -> list[dict[str, Any]]:
    return msgspec.json.decode(data, type=list[dict[str, Any]] | None) or []


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
