"""The shape of an error's body, by the API that a path belongs to: Ollama's own, OpenAI's, Anthropic's.

/v1/messages...   {"type": "error", "error": {"type": ..., "message": ...}, "request_id": ...}
/v1/...           {"error": {"message": ..., "type": ..., "param": null, "code": null}}
everything else   {"error": ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .request_ids import current_request_id

__all__ = ["error_body"]

_OPENAI_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
}
_ANTHROPIC_TYPES: Mapping[int, str] = {
    **_OPENAI_TYPES,
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def error_body(path: str, status: int, text: str) -> dict[str, Any]:
    """What the body of an error answer says on the route ``path``, before it becomes JSON."""
    if _is_below(path, "/v1/messages"):
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": text}, "request_id": current_request_id()}
    if _is_below(path, "/v1"):
        kind = _OPENAI_TYPES.get(status, "api_error")
        return {"error": {"message": text, "type": kind, "param": None, "code": None}}
    return {"error": text}


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
