"""Uploaded files as layers: which kind each is, whether it is whole, and what has to be converted first.

Labels are never opened as paths: where a converter needs files under their names, they are linked under them into a
folder of the store's own.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from gristmill.runtime.checkpoint import open_checkpoint, read_gguf_header
from gristmill.runtime.checkpoint.adapters import AdapterBase, adapter_alpha, adapter_targets
from gristmill.runtime.checkpoint.split import SPLIT_NAME, part_names
from gristmill.runtime.convert.jobs import AdapterJob, ConvertJob, Job, MergeJob
from gristmill.runtime.errors import InvalidFile, InvalidRequest, ModelError, UnsupportedModel, cut

from .conversion import convert
from .store import Digest, Layer, MediaType, Store
from .store.errors import store_errors

__all__ = ["Line", "adapter_layer", "check_adapter", "check_uploaded", "convert_to_blob", "model_layers"]

Line = dict[str, Any]
Layers = Generator[Line, None, list[Layer]]

_MAGIC = b"GGUF"


def check_uploaded(store: Store, field: str, files: Mapping[str, Digest]) -> None:
    """Raises InvalidRequest for a blob that is not there."""
    for label, digest in files.items():
        if not store.has_blob(digest):
            raise InvalidRequest(f"{field}: blob {digest} of {cut(label)} is not there; upload it first")


def is_gguf(store: Store, digest: Digest) -> bool:
    with store_errors("read from the model store"), open(store.blob_path(digest), "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def model_layers(store: Store, field: str, files: Mapping[str, Digest]) -> Layers:
    """The layers of the uploaded ``files``: weights, and projectors. Raises InvalidRequest."""
    check_uploaded(store, field, files)
    if any(label.endswith(".safetensors") for label in files):
        yield {"status": "converting model"}
        with store.scratch() as folder:
            source = _linked(store, folder / "source", files)
            return [(yield from convert_to_blob(store, folder, ConvertJob(str(source), _target(folder))))]
    _require_gguf(store, field, files)
    merged = yield from _merged(store, field, files)
    layers = []
    for label, digest in merged.items():
        yield {"status": "parsing GGUF"}
        layers.append(_gguf_layer(store, field, label, digest))
    return layers


def adapter_layer(store: Store, files: Mapping[str, Digest], base: Layer | None) -> Layers:
    """The adapter in the uploaded ``files``, for the weights ``base``. Raises InvalidRequest."""
    check_uploaded(store, "adapters", files)
    if base is None:
        raise InvalidRequest("no base model was found")
    if any(label.endswith(".safetensors") for label in files):
        yield {"status": "converting adapter"}
        with store.scratch() as folder:
            source = _linked(store, folder / "source", files)
            job = AdapterJob(str(source), str(store.blob_path(base.digest)), _target(folder))
            layer = yield from convert_to_blob(store, folder, job)
        return [Layer(MediaType.ADAPTER, layer.digest, layer.size)]
    _require_gguf(store, "adapters", files)
    if len(files) > 1:
        raise InvalidRequest("only one adapter is currently supported")
    ((label, digest),) = files.items()
    yield {"status": "parsing GGUF"}
    layer = _gguf_layer(store, "adapters", label, digest)
    if layer.media_type != MediaType.ADAPTER:
        raise InvalidRequest(f"adapters: {cut(label)} is not an adapter")
    return [layer]


def check_adapter(store: Store, adapter: Layer, base: Layer) -> None:
    """Raises InvalidRequest ``adapter does not match base model: ...`` with the part that does not fit."""
    try:
        header = read_gguf_header(store.blob_path(adapter.digest))
        model = read_gguf_header(store.blob_path(base.digest))
        shapes = {name: info.shape for name, info in model.tensors.items()}
        fitting = AdapterBase(model.metadata.get("general.architecture"), shapes)
        adapter_alpha(header.metadata, fitting)
        adapter_targets(header.tensors, fitting)
    except ModelError as error:
        raise InvalidRequest(f"{error}") from None


def convert_to_blob(
    store: Store, folder: Path, job: Job, status: str = "", media_type: str = MediaType.MODEL
) -> Generator[Line, None, Layer]:
    """Run ``job``, whose target is in the scratch ``folder``, and take the result into the store as a layer.

    With ``status``, its progress is told line by line, as Ollama tells it.
    """
    for progress in convert(job):
        if status:
            yield {
                "status": status,
                "digest": "0000000000000000000",
                "total": progress.total,
                "completed": progress.done,
            }
    digest = store.adopt_blob(Path(job.target))
    return Layer(media_type, digest, _size(store, digest))


def _target(folder: Path) -> str:
    return str(folder / "model.gguf")


def _linked(store: Store, folder: Path, files: Mapping[str, Digest]) -> Path:
    """A folder in which each file has its label as its name. Labels are relative and do not leave it (see recipes)."""
    with store_errors("write to the model store"):
        folder.mkdir()
        for label, digest in files.items():
            path = Path(os.path.normpath(folder / label))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(store.blob_path(digest))
    return folder


def _require_gguf(store: Store, field: str, files: Mapping[str, Digest]) -> None:
    are_gguf = [is_gguf(store, digest) for digest in files.values()]
    if field == "files" and not any(are_gguf) and not any(label.endswith(".gguf") for label in files):
        raise InvalidRequest("unknown type")
    if not all(are_gguf):
        raise InvalidRequest(f"{'' if field == 'files' else f'{field}: '}supplied file was not in GGUF format")


def _merged(store: Store, field: str, files: Mapping[str, Digest]) -> Generator[Line, None, dict[str, Digest]]:
    """``files`` with the parts of each split model made one."""
    whole = {label: digest for label, digest in files.items() if not part_names(os.path.basename(label))}
    parts = {label: digest for label, digest in files.items() if label not in whole}
    for label in [label for label in parts if (found := SPLIT_NAME.fullmatch(label)) and int(found["number"]) == 1]:
        folder_name = os.path.dirname(label)
        names = [os.path.join(folder_name, name) for name in part_names(os.path.basename(label))]
        missing = [name for name in names if name not in parts]
        if missing:
            raise InvalidRequest(f"{field}: {len(missing)} of {len(names)} parts are missing: {cut(missing[0])}")
        yield {"status": "parsing GGUF"}
        with store.scratch() as folder:
            source = _linked(store, folder / "source", {os.path.basename(name): parts.pop(name) for name in names})
            job = MergeJob(str(source / os.path.basename(label)), _target(folder))
            layer = yield from convert_to_blob(store, folder, job)
        whole[label] = layer.digest
    if parts:
        raise InvalidRequest(f"{field}: the first part of {cut(min(parts))} is missing")
    return whole


def _gguf_layer(store: Store, field: str, label: str, digest: Digest) -> Layer:
    try:
        with open_checkpoint(store.blob_path(digest)) as checkpoint:
            metadata = checkpoint.metadata
    except (InvalidFile, UnsupportedModel) as error:
        raise InvalidRequest(f"{error}") from None
    kind, architecture = metadata.get("general.type"), metadata.get("general.architecture")
    if kind == "imatrix":
        raise InvalidRequest(f"{field}: {cut(label)} is an importance matrix, not a model")
    is_projector = kind in ("projector", "mmproj") or architecture == "clip"
    is_projector |= f"{architecture}.vision.block_count" in metadata and f"{architecture}.block_count" not in metadata
    media_type = MediaType.ADAPTER if kind == "adapter" else MediaType.PROJECTOR if is_projector else MediaType.MODEL
    return Layer(media_type, digest, _size(store, digest))


def _size(store: Store, digest: Digest) -> int:
    with store_errors("read from the model store"):
        return store.blob_path(digest).stat().st_size
