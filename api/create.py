"""Making a model: out of another one, or out of uploaded GGUF files. What ``/api/create`` does behind its checks.

Everything is validated before anything is written, blobs before the manifest that names them. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.runtime.errors import InvalidFile, InvalidRequest, UnsupportedModel, cut

from .create_recipe import Recipe, read_recipe
from .store import Config, Digest, Layer, MediaType, Store
from .store.assemble import add_layer, config_from_facts, publish

if TYPE_CHECKING:
    from .schema import CreateRequest

__all__ = ["create_model", "create_steps"]

_MAGIC = b"GGUF"


async def create_model(store: Store, request: CreateRequest) -> AsyncGenerator[dict[str, Any], None]:
    """Yields progress objects, at last ``{"status": "success"}``. The work is done in threads.

    Raises InvalidRequest for a bad request or file, ModelNotFound for an unknown ``from``, StoreError.
    """
    steps = create_steps(store, read_recipe(request))
    try:
        while (status := await asyncio.to_thread(next, steps, None)) is not None:
            yield {"status": status}
    finally:
        with suppress(ValueError):  # a step still at work in its thread: the generator closes when that ends
            steps.close()


def create_steps(store: Store, recipe: Recipe) -> Generator[str, None, None]:
    """The same, in this thread: yields what is about to happen."""
    with store.lease():
        base = _take_over(store, recipe.base) if recipe.base else (yield from _import(store, recipe))
        if recipe.drafts:
            yield "parsing GGUF"
            _replace_draft(store, base, recipe)
        layers, lines = _add_layers(store, base, recipe)
        yield from lines
        yield "writing manifest"
        replaced = publish(store, recipe.name, _config(base.config, recipe), layers)
    store.remove_unused(replaced)
    yield "success"


@dataclass
class _Base:
    """What the new model starts from."""

    config: Config
    layers: list[Layer]
    parameters: dict[str, Any] = field(default_factory=dict)


def _take_over(store: Store, name: str) -> _Base:
    """All of an existing model."""
    model = store.find(name)
    try:
        _ = model.model_path
    except UnsupportedModel as error:
        raise InvalidRequest(f"from: {error}") from None
    layers = [
        Layer(layer.media_type, layer.digest, layer.size, from_=model.name.short, name=layer.name)
        for layer in model.layers
    ]
    return _Base(model.config, layers, model.params)


def _import(store: Store, recipe: Recipe) -> Generator[str, None, _Base]:
    """Layers of the uploaded files, each checked as a whole, and the config that follows from the weights."""
    _check_uploaded(store, "files", recipe.files)
    _check_kind(store, recipe)
    layers = []
    for label, digest in recipe.files.items():
        yield "parsing GGUF"
        layers.append(_file_layer(store, label, digest))
    weights = [layer for layer in layers if layer.media_type == MediaType.MODEL]
    if len(weights) != 1:
        raise InvalidRequest(f"files: {len(weights)} of them are models, it must be one")
    return _Base(config_from_facts(store.facts(weights[0].digest)), layers)


def _replace_draft(store: Store, base: _Base, recipe: Recipe) -> None:
    """The recipe's draft model instead of the base's, if that has one."""
    _check_uploaded(store, "draft_files", recipe.drafts)
    for label, digest in recipe.drafts.items():
        if not _is_gguf(store, digest):
            raise InvalidRequest("draft_files: supplied file was not in GGUF format")
        layer = _file_layer(store, label, digest)
        if layer.media_type != MediaType.MODEL:
            raise InvalidRequest(f"draft_files: {cut(label)} is not a model")
        base.layers = [other for other in base.layers if other.media_type != MediaType.DRAFT]
        base.layers.append(Layer(MediaType.DRAFT, digest, layer.size))


def _check_uploaded(store: Store, field: str, files: Mapping[str, Digest]) -> None:
    for label, digest in files.items():
        if not store.has_blob(digest):
            raise InvalidRequest(f"{field}: blob {digest} of {cut(label)} is not there; upload it first")


def _check_kind(store: Store, recipe: Recipe) -> None:
    if any(label.endswith(".safetensors") for label in recipe.files):
        raise InvalidRequest("files: safetensors sources are not supported in this version; convert them to GGUF first")
    are_gguf = [_is_gguf(store, digest) for digest in recipe.files.values()]
    if not any(are_gguf) and not any(label.endswith(".gguf") for label in recipe.files):
        raise InvalidRequest("unknown type")
    if not all(are_gguf):
        raise InvalidRequest("supplied file was not in GGUF format")


def _is_gguf(store: Store, digest: Digest) -> bool:
    with open(store.blob_path(digest), "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _file_layer(store: Store, label: str, digest: Digest) -> Layer:
    from gristmill.runtime.checkpoint import open_checkpoint

    try:
        with open_checkpoint(store.blob_path(digest)) as checkpoint:
            metadata = checkpoint.metadata
    except (InvalidFile, UnsupportedModel) as error:
        raise InvalidRequest(f"{error}") from None
    kind = metadata.get("general.type")
    architecture = metadata.get("general.architecture")
    if kind == "adapter":
        raise InvalidRequest(f"files: {cut(label)} is an adapter; adapters are not supported in this version")
    is_projector = kind in ("projector", "mmproj") or architecture == "clip"
    is_projector |= f"{architecture}.vision.block_count" in metadata and f"{architecture}.block_count" not in metadata
    kind = MediaType.PROJECTOR if is_projector else MediaType.MODEL
    return Layer(kind, digest, store.blob_path(digest).stat().st_size)


def _add_layers(store: Store, base: _Base, recipe: Recipe) -> tuple[list[Layer], list[str]]:
    """All layers of the new model, and a line on each: texts replace those of the base, licenses are added."""
    texts: list[tuple[str, bytes]] = []
    if recipe.template:
        texts.append((MediaType.TEMPLATE, recipe.template.encode()))
    if recipe.system:
        texts.append((MediaType.SYSTEM, recipe.system.encode()))
    if recipe.parameters:
        texts.append((MediaType.PARAMS, msgspec.json.encode({**base.parameters, **recipe.parameters})))
    if recipe.messages:
        texts.append((MediaType.MESSAGES, msgspec.json.encode(recipe.messages)))
    replaced = {media_type for media_type, _ in texts}
    texts += [(MediaType.LICENSE, text.encode()) for text in recipe.licenses]
    layers = [layer for layer in base.layers if layer.media_type not in replaced]
    lines = [f"using existing layer {layer.digest}" for layer in layers]
    for media_type, data in texts:
        layer, is_new = add_layer(store, media_type, data)
        if any((layer.media_type, layer.digest) == (other.media_type, other.digest) for other in layers):
            continue
        layers.append(layer)
        lines.append(f"{'creating new' if is_new else 'using existing'} layer {layer.digest}")
    return layers, lines


def _config(base: Config, recipe: Recipe) -> Config:
    return msgspec.structs.replace(base, remote_host="", remote_model="", draft=None, **recipe.config)
