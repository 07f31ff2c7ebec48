"""A create request, checked as far as it can be without the store: a ``Recipe``. Opens no files."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from gristmill.runtime.errors import InvalidRequest, cut

from .create_quantize import check_file_type
from .store.digests import Digest, parse_digest
from .store.names import Name
from .store.parameters import check_parameters
from .store.stored_model import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from .schema import CreateRequest

__all__ = ["Recipe", "read_recipe"]

MAX_FILES = 4096
_ROLES = ("system", "user", "assistant", "tool")
_UNSUPPORTED = ("remote_host",)
_INFO_TEXTS = {
    "model_family": "model_family",
    "base_name": "base_name",
    "quantization_level": "file_type",
    "parameter_size": "model_type",
}
_INFO_COUNTS = ("context_length", "embedding_length")


@dataclass(frozen=True)
class Recipe:
    """What to make. Either ``base``, a model's name, or ``files`` (label -> blob, sorted); ``config`` are overrides.

    ``drafts`` are the files of a draft model, ``adapters`` those of an adapter. ``quantize`` and ``draft_quantize``
    are names of mixes of formats, or empty.
    """

    name: Name
    base: str
    files: Mapping[str, Digest]
    drafts: Mapping[str, Digest]
    adapters: Mapping[str, Digest]
    quantize: str
    draft_quantize: str
    template: str
    system: str
    licenses: tuple[str, ...]
    parameters: Mapping[str, object]
    messages: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Any]


def read_recipe(request: CreateRequest) -> Recipe:
    """Raises InvalidRequest, naming the field, for what is wrong and for what this version cannot do."""
    name = Name.parse(request.model_name)
    for field in ("files", "adapters", "draft_files"):
        _check_files(field, getattr(request, field))
    for field in _UNSUPPORTED:
        if getattr(request, field):
            raise InvalidRequest(f"{field}: not supported in this version")
    if not request.from_ and not request.files:
        raise InvalidRequest("neither 'from' or 'files' was specified")
    if request.draft_quantize and not request.draft_files:
        raise InvalidRequest("--draft-quantize requires a DRAFT model")
    asked = request.quantize or request.quantization
    if request.from_:
        Name.parse(request.from_)
    licenses = [request.license] if isinstance(request.license, str) else request.license
    recipe = Recipe(
        name=name,
        base=request.from_,
        files={label: parse_digest(digest) for label, digest in sorted(request.files.items())},
        drafts={label: parse_digest(digest) for label, digest in sorted(request.draft_files.items())},
        adapters={label: parse_digest(digest) for label, digest in sorted(request.adapters.items())},
        quantize=check_file_type(asked) if asked else "",
        draft_quantize=check_file_type(request.draft_quantize) if request.draft_quantize else "",
        template=request.template,
        system=request.system,
        licenses=tuple(text for text in licenses if text),
        parameters=check_parameters(request.parameters),
        messages=tuple(_messages(request)),
        config=_overrides(request),
    )
    for field in ("template", "system", "licenses", "parameters", "messages"):
        _check_text(field, getattr(recipe, field))
    return recipe


def _check_files(field: str, files: Mapping[str, str]) -> None:
    """Labels look like paths and are never opened; they must still be harmless ones."""
    if len(files) > MAX_FILES:
        raise InvalidRequest(f"{field}: {len(files)} files are over the limit of {MAX_FILES}")
    seen = set()
    for label, digest in files.items():
        parse_digest(digest)
        plain = posixpath.normpath(label.replace("\\", "/"))
        if not label or "\0" in label or plain.startswith("/") or plain.split("/")[0] == ".." or plain[1:2] == ":":
            raise InvalidRequest("file path must be relative")
        if plain in seen:
            raise InvalidRequest(f"{field}: {cut(label)} is there twice")
        seen.add(plain)
    for plain in seen:
        folder = next((str(parent) for parent in PurePosixPath(plain).parents if str(parent) in seen), "")
        if folder:
            raise InvalidRequest(f"{field}: {cut(folder)} is a file, and the folder of {cut(plain)}")


def _check_text(field: str, value: object) -> None:
    """Whether ``value`` can be stored at all, and is not huge."""
    try:
        n_bytes = len(msgspec.json.encode(value))
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise InvalidRequest(f"{field}: holds what JSON in UTF-8 cannot say") from None
    if n_bytes > MAX_TEXT_BYTES:
        raise InvalidRequest(f"{field}: {n_bytes} bytes are over the limit of {MAX_TEXT_BYTES}")


def _messages(request: CreateRequest) -> list[dict[str, Any]]:
    for i, message in enumerate(request.messages):
        if message.role not in _ROLES:
            raise InvalidRequest(f"messages[{i}].role: {cut(message.role)} is not one of {', '.join(_ROLES)}")
    return [msgspec.to_builtins(message) for message in request.messages]


def _overrides(request: CreateRequest) -> dict[str, Any]:
    """Config fields that the request sets itself."""
    found: dict[str, Any] = {}
    for field in ("renderer", "parser", "requires"):
        if getattr(request, field):
            found[field] = getattr(request, field)
    for key, value in request.info.items():
        if key in _INFO_TEXTS:
            if not isinstance(value, str):
                raise InvalidRequest(f'info field "{key}" must be a string')
            found[_INFO_TEXTS[key]] = value
        elif key in _INFO_COUNTS:
            found[key] = _count(key, value)
        elif key == "capabilities":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise InvalidRequest('info field "capabilities" must be an array of strings')
            found[key] = value
    return found


def _count(key: str, value: object) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidRequest(f'info field "{key}" must be a number')
    if value < 0 or value != int(value):
        raise InvalidRequest(f'info field "{key}" must be a non-negative integer')
    return int(value)
