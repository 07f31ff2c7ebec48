"""From what stands after ``run`` to a model the server has: a name, a GGUF file, or the embedded default."""

from __future__ import annotations

import re
from pathlib import Path

from gristmill.runtime.errors import GristmillError, cut

from ..settings import Settings
from ..store import Store
from ..store.default_model import SMOLLM2, install_default_model, is_default_model
from .client import Client, ServerError
from .create import create_model
from .model_files import looks_like_path
from .progress import Progress
from .transfer import pull_model
from .upload import upload_file

DEFAULT_MODEL = SMOLLM2.name
_MAGIC = b"GGUF"
_MAX_NAME_CHARS = 80
_N_DIGITS = 12


def obtain_model(client: Client, model: str, settings: Settings, *, insecure: bool = False) -> str:
    """The name of a model that the server has: imported, installed or pulled if need be. Raises GristmillError."""
    if looks_like_path(model) or (model.lower().endswith(".gguf") and Path(model).is_file()):
        return import_file(client, Path(model).expanduser())
    if _stored_modelfile(client, model) is None:
        if is_default_model(model):
            _install_default(client, settings)
        else:
            pull_model(client, model, insecure=insecure)
    return model


def _install_default(client: Client, settings: Settings) -> None:
    """Puts the embedded default into our store, and into the server's if that is another one."""
    with Progress() as progress:
        store = Store(settings.models, keep_unused=settings.noprune)
        stored = install_default_model(store, progress.show)
        if _stored_modelfile(client, DEFAULT_MODEL) is None:
            digest = upload_file(client, stored.model_path, progress)
            create_model(client, {"model": DEFAULT_MODEL, "files": {stored.model_path.name: digest}}, progress)


def import_file(client: Client, path: Path) -> str:
    """Makes a model out of the GGUF file ``path``, named after it; the same file gives the same model again.

    A model of that name with other content is left alone: the new one then gets the file's digest as its tag.
    Raises GristmillError, OSError.
    """
    _require_gguf(path)
    name = model_name(path.stem)
    with Progress(keep=False) as progress:
        digest = upload_file(client, path, progress)
        stored = _stored_modelfile(client, name)
        if stored is not None and not _is_made_of(stored, digest):
            name = f"{name}:{digest.removeprefix('sha256:')[:_N_DIGITS]}"
            stored = _stored_modelfile(client, name)
        if stored is None:
            create_model(client, {"model": name, "files": {path.name: digest}}, progress)
    return name


def _require_gguf(path: Path) -> None:
    if not path.is_file():
        problem = "is a folder, not a GGUF file" if path.is_dir() else "does not exist"
        raise GristmillError(f"{cut(str(path))} {problem}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise GristmillError(f"{cut(str(path))} is not a GGUF file")


def model_name(stem: str) -> str:
    """``stem`` with what a model's name cannot hold replaced by dashes."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).lstrip("-.")
    return name[:_MAX_NAME_CHARS] or "model"


def _stored_modelfile(client: Client, name: str) -> str | None:
    """The Modelfile of a model in the store, None when there is no such model."""
    try:
        return str(client.post("/api/show", {"model": name}).get("modelfile", ""))
    except ServerError as error:
        if error.status != 404:
            raise
        return None


def _is_made_of(modelfile: str, digest: str) -> bool:
    """Whether the weights are the blob ``digest``: a Modelfile's FROM names the blob's file."""
    return digest.replace(":", "-") in modelfile
