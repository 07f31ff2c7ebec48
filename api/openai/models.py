"""Models as OpenAI lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..store import Name, StoredModel

__all__ = ["model_list", "one_model"]


def model_list(models: Sequence[StoredModel]) -> dict[str, Any]:
    """In the order given; without models an empty list, which clients can read, where Ollama has null."""
    return {"object": "list", "data": [_model(model.name.short, model.name, model) for model in models]}


def one_model(sent: str, model: StoredModel) -> dict[str, Any]:
    """Under the name ``sent`` by the client, and owned by that name's namespace."""
    return _model(sent, Name.parse(sent.strip()), model)


def _model(shown_name: str, name: Name, model: StoredModel) -> dict[str, Any]:
    created = int(model.modified_at.timestamp())
    return {"id": shown_name, "object": "model", "created": created, "owned_by": name.namespace}
