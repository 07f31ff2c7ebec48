"""Parts of requests that OpenAI's endpoints have in common: pictures, sounds, reasoning, formats, stop texts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from gristmill.runtime.errors import InvalidRequest, cut

from ..schema import Think

__all__ = ["audio_of", "format_of", "image_of", "is_base64", "roles_of_ours", "stop_of", "think_of"]

_IMAGE_PREFIXES = tuple(f"data:{kind};base64," for kind in ("image/jpeg", "image/jpg", "image/png", "image/webp", ""))
_EFFORTS: Mapping[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}
_EFFORT_NAMES = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'


def think_of(effort: str) -> Think | None:
    """What a reasoning effort means; None where it is empty. Raises InvalidRequest for others."""
    if not effort:
        return None
    if effort not in _EFFORTS:
        raise InvalidRequest(f"invalid reasoning value: {cut(effort)} (must be {_EFFORT_NAMES})")
    return Think.parse(_EFFORTS[effort])


def image_of(url: Any) -> str:
    """The base64 text of a ``data:`` URL; addresses are not fetched. Raises InvalidRequest."""
    if isinstance(url, Mapping):
        url = url.get("url")
    if not isinstance(url, str):
        raise InvalidRequest("invalid image input")
    if url.startswith(("http://", "https://")):
        raise InvalidRequest("image URLs are not currently supported, please use base64 encoded data instead")
    prefix = next((prefix for prefix in _IMAGE_PREFIXES if url.startswith(prefix)), None)
    if prefix is None or not is_base64(url[len(prefix) :]):
        raise InvalidRequest("invalid image input")
    return url[len(prefix) :]


def audio_of(part: Any) -> str:
    """The base64 text of an ``input_audio`` part. Raises InvalidRequest."""
    if not isinstance(part, Mapping):
        raise InvalidRequest("invalid input_audio format")
    data = part.get("data")
    if not isinstance(data, str) or not data:
        raise InvalidRequest("invalid input_audio format: missing data")
    if not is_base64(data):
        raise InvalidRequest("invalid input_audio base64 data: illegal base64 data")
    return data


def is_base64(text: str) -> bool:
    """Whether ``text`` is base64 with its padding."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def format_of(response_format: Mapping[str, Any] | None) -> Any:
    """The native ``format``. A JSON schema that is not there is refused: it would not be enforced."""
    kind = str((response_format or {}).get("type", "")).strip().lower()
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        return None
    holder = (response_format or {}).get("json_schema")
    schema = holder.get("schema") if isinstance(holder, Mapping) else None
    if not isinstance(schema, Mapping):
        raise InvalidRequest("response_format: json_schema needs an object as json_schema.schema")
    return schema


def stop_of(stop: Any) -> list[str] | None:
    """A text, or the texts of a list; None where nothing is given."""
    if isinstance(stop, str):
        return [stop]
    return [item for item in stop if isinstance(item, str)] if isinstance(stop, list) else None


def roles_of_ours(role: str) -> str:
    """``developer`` is OpenAI's newer name of ``system``."""
    return "system" if role.lower() == "developer" else role
