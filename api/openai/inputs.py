"""Parts of requests that OpenAI's endpoints have in common: pictures, sounds, reasoning, roles."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from gristmill.runtime.errors import InvalidRequest, cut

from ..schema import Think

__all__ = ["audio_of", "image_of", "is_base64", "roles_of_ours", "think_of"]

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
    data = url[len(prefix or "") :]
    if prefix is None or not data or not is_base64(data):
        raise InvalidRequest("invalid image input")
    return data


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


def roles_of_ours(role: str) -> str:
    """``developer`` is OpenAI's newer name of ``system``."""
    return "system" if role.lower() == "developer" else role
