"""OpenAI's shape of an error."""

from __future__ import annotations

from typing import Any

__all__ = ["is_openai_path", "openai_error"]

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def openai_error(status: int, text: str) -> dict[str, Any]:
    """The body of an error with an HTTP ``status``; ``text`` is the native one."""
    return {"error": {"message": text, "type": _TYPES.get(status, "api_error"), "param": None, "code": None}}


def is_openai_path(path: str) -> bool:
    """Whether errors of this path have OpenAI's shape: all under /v1 but Anthropic's messages."""
    return path.startswith("/v1/") and not f"{path}/".startswith("/v1/messages/")
