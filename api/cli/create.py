"""The ``create`` command: a Modelfile and the files it names, over the API, into a model."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gristmill.runtime.errors import GristmillError, cut

from ..store.modelfile import Modelfile, parse_modelfile
from .client import Client, open_client
from .model_files import files_of, looks_like_path
from .progress import Progress
from .upload import upload_file

_DEFAULT_FILE = "Modelfile"
_MAX_BYTES = 16 << 20


def create(arguments: Namespace) -> int:
    modelfile, folder = _read(arguments.file)
    if arguments.draft_quantize and not modelfile.draft:
        raise GristmillError("--draft-quantize requires a DRAFT model")
    for warning in modelfile.warnings:
        print(warning, file=sys.stderr)
    client = open_client()
    with Progress() as progress:
        progress.show("gathering model components")
        body = {"model": arguments.model, **create_request(client, modelfile, folder, progress)}
        if arguments.quantize:
            body["quantize"] = arguments.quantize
        if arguments.draft_quantize:
            body["draft_quantize"] = arguments.draft_quantize
        create_model(client, body, progress)
    return 0


def _read(name: str | None) -> tuple[Modelfile, Path]:
    """The Modelfile and the folder its paths start from; without one the folder itself is the model."""
    path = Path(name or _DEFAULT_FILE)
    if name is None and not path.exists():
        return Modelfile(sources=["."]), Path()
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise GristmillError(f"cannot read the Modelfile {cut(str(path))}: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        hint = "to import a model's file, write a Modelfile with the line FROM and its name"
        raise GristmillError(f"{cut(str(path))} is too large for a Modelfile: {hint}")
    return parse_modelfile(text), path.parent


def create_request(client: Client, modelfile: Modelfile, folder: Path, progress: Progress) -> dict[str, Any]:
    """What ``/api/create`` is asked for, without the name; the files are in the server's store afterwards.

    Raises GristmillError, OSError.
    """
    sources = {source: _path(source, folder) for source in modelfile.sources}
    files = [path for path in sources.values() if path is not None]
    names = [source for source, path in sources.items() if path is None]
    adapters = [folder / Path(modelfile.adapter).expanduser()] if modelfile.adapter else []
    drafts = [folder / Path(modelfile.draft).expanduser()] if modelfile.draft else []
    if drafts and drafts[0] in files:
        raise GristmillError(f"DRAFT must not reference the same local path as FROM: {cut(modelfile.draft)}")
    request = {
        "from": names[-1] if names else "",
        "files": _upload(client, files, progress),
        "adapters": _upload(client, adapters, progress),
        "draft_files": _upload(client, drafts, progress),
        "template": modelfile.template,
        "system": modelfile.system,
        "renderer": modelfile.renderer,
        "parser": modelfile.parser,
        "requires": modelfile.requires,
        "license": modelfile.licenses,
        "parameters": modelfile.parameters,
        "messages": modelfile.messages,
    }
    return {key: value for key, value in request.items() if value}


def create_model(client: Client, body: Mapping[str, Any], progress: Progress) -> None:
    """Asks the server to create a model and shows what it does. Raises GristmillError."""
    status = ""
    for item in client.stream("/api/create", body):
        status = str(item.get("status", ""))
        progress.show(status, item.get("completed"), item.get("total"))
    if status != "success":
        raise GristmillError("the server did not say whether the model was created")


def _path(source: str, folder: Path) -> Path | None:
    """The file or folder ``source`` names, seen from the Modelfile's ``folder``; None for a model's name."""
    path = folder / Path(source).expanduser()
    return path if looks_like_path(source) or path.exists() else None


def _upload(client: Client, paths: list[Path], progress: Progress) -> dict[str, str]:
    files: dict[str, Path] = {}
    for name, file in (named for path in paths for named in files_of(path).items()):
        if files.setdefault(name, file) != file:
            raise GristmillError(f"two different files are named {cut(name)}: rename one of them")
    return {name: upload_file(client, file, progress) for name, file in files.items()}
