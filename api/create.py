"""Making a model: out of another one, or out of uploaded files. What ``/api/create`` does behind its checks.

Everything is validated before anything is published, blobs before the manifest that names them. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.runtime.errors import InvalidRequest, UnsupportedModel

from .create_files import Line, adapter_layer, check_adapter, model_layers
from .create_quantize import quantized
from .create_recipe import Recipe, read_recipe
from .store import Config, Layer, MediaType, Store
from .store.assemble import add_layer, config_from_facts, publish

if TYPE_CHECKING:
    from .schema import CreateRequest

__all__ = ["create_model", "create_steps"]

Steps = Generator[Line, None, None]
# Renderers and parsers that models of these architectures need (Ollama, server/create.go).
_BUILT_IN = {
    "gemma4": ("gemma4", "gemma4"),
    "laguna": ("laguna", "laguna"),
    "nemotron_h": ("nemotron-3-nano", "nemotron-3-nano"),
    "nemotron_h_moe": ("nemotron-3-nano", "nemotron-3-nano"),
    "nemotron_h_omni": ("nemotron-3-nano", "nemotron-3-nano"),
}
_STOP = {"gemma4": ["<turn|>"]}


async def create_model(store: Store, request: CreateRequest) -> AsyncGenerator[Line, None]:
    """Yields progress objects, at last ``{"status": "success"}``. The work is done in threads.

    Raises InvalidRequest for a bad request or file, ModelNotFound for an unknown ``from``, StoreError.
    """
    steps = create_steps(store, read_recipe(request))
    try:
        while (line := await asyncio.to_thread(next, steps, None)) is not None:
            yield line
    finally:
        with suppress(ValueError):  # a step still at work in its thread: the generator closes when that ends
            steps.close()


def create_steps(store: Store, recipe: Recipe) -> Steps:
    """The same, in this thread: yields what is about to happen."""
    with store.lease():
        base = _take_over(store, recipe.base) if recipe.base else (yield from _import(store, recipe))
        yield from _replace(store, base, MediaType.DRAFT, recipe)
        yield from _replace(store, base, MediaType.ADAPTER, recipe)
        for kind, file_type in ((MediaType.MODEL, recipe.quantize), (MediaType.DRAFT, recipe.draft_quantize)):
            if file_type:
                base.layers = yield from quantized(store, base.layers, kind, file_type)
        layers, lines = _add_layers(store, base, recipe)
        yield from lines
        yield {"status": "writing manifest"}
        replaced = publish(store, recipe.name, _config(store, base, recipe), layers)
    store.remove_unused(replaced)
    yield {"status": "success"}


@dataclass
class _Base:
    """What the new model starts from."""

    config: Config
    layers: list[Layer]
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Layer | None:
        return next((layer for layer in self.layers if layer.media_type == MediaType.MODEL), None)


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
    return _Base(model.config, layers, dict(model.params))


def _import(store: Store, recipe: Recipe) -> Generator[Line, None, _Base]:
    """Layers of the uploaded files, each checked as a whole."""
    layers = yield from model_layers(store, "files", recipe.files)
    n_models = sum(layer.media_type == MediaType.MODEL for layer in layers)
    if n_models != 1:
        raise InvalidRequest(f"files: {n_models} of them are models, it must be one")
    base = _Base(Config(model_format="gguf"), layers)
    assert base.weights is not None
    family = store.facts(base.weights.digest).family
    renderer, parser = _BUILT_IN.get(family, ("", ""))
    base.config = msgspec.structs.replace(base.config, renderer=renderer, parser=parser)
    if family in _STOP and "stop" not in recipe.parameters:
        base.parameters["stop"] = _STOP[family]
    for layer in layers:
        if layer.media_type == MediaType.ADAPTER:
            check_adapter(store, layer, base.weights)
    return base


def _replace(store: Store, base: _Base, kind: str, recipe: Recipe) -> Steps:
    """The recipe's draft model or adapter instead of the base's, if it has one."""
    files = recipe.drafts if kind == MediaType.DRAFT else recipe.adapters
    if not files:
        return
    if kind == MediaType.DRAFT:
        found = yield from model_layers(store, "draft_files", files)
        if [layer.media_type for layer in found] != [MediaType.MODEL]:
            raise InvalidRequest("draft_files: they are not one model")
    else:
        found = yield from adapter_layer(store, files, base.weights)
        assert base.weights is not None
        check_adapter(store, found[0], base.weights)
    base.layers = [layer for layer in base.layers if layer.media_type != kind]
    base.layers += [Layer(kind, layer.digest, layer.size) for layer in found]


def _add_layers(store: Store, base: _Base, recipe: Recipe) -> tuple[list[Layer], list[Line]]:
    """All layers of the new model, and a line on each: texts replace those of the base, licenses are added."""
    texts: list[tuple[str, bytes]] = []
    if recipe.template:
        texts.append((MediaType.TEMPLATE, recipe.template.encode()))
    if recipe.system:
        texts.append((MediaType.SYSTEM, recipe.system.encode()))
    if recipe.parameters or (base.parameters and not recipe.base):
        texts.append((MediaType.PARAMS, msgspec.json.encode({**base.parameters, **recipe.parameters})))
    if recipe.messages:
        texts.append((MediaType.MESSAGES, msgspec.json.encode(recipe.messages)))
    replaced = {media_type for media_type, _ in texts}
    texts += [(MediaType.LICENSE, text.encode()) for text in recipe.licenses]
    layers = [layer for layer in base.layers if layer.media_type not in replaced]
    lines: list[Line] = [{"status": f"using existing layer {layer.digest}"} for layer in layers]
    for media_type, data in texts:
        layer, is_new = add_layer(store, media_type, data)
        if any((layer.media_type, layer.digest) == (other.media_type, other.digest) for other in layers):
            continue
        layers.append(layer)
        lines.append({"status": f"{'creating new' if is_new else 'using existing'} layer {layer.digest}"})
    return layers, lines


def _config(store: Store, base: _Base, recipe: Recipe) -> Config:
    """What was taken over, or where the weights are new what they say; and what the request says."""
    config = base.config
    if not recipe.base or recipe.quantize:
        assert base.weights is not None
        facts = config_from_facts(store.facts(base.weights.digest))
        known = {name: getattr(facts, name) for name in ("model_family", "model_families", "model_type", "file_type")}
        config = msgspec.structs.replace(config, model_format="gguf", **known)
    return msgspec.structs.replace(config, remote_host="", remote_model="", draft=None, **recipe.config)
