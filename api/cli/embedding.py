"""``run`` with an embedding model: the vector of a text, as one JSON array."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from gristmill.runtime.errors import GristmillError

from . import answer, flags
from .client import Client
from .metrics import print_metrics


def print_vector(client: Client, model: str, text: str, arguments: Namespace) -> None:
    """Raises GristmillError, also without a ``text``."""
    if not text:
        usage = f'Usage: gristmill run {model} "your text here"'
        raise GristmillError(f"embedding models require input text. {usage}")
    body: dict[str, Any] = {"model": model, "input": text}
    if arguments.truncate is not None:
        body["truncate"] = flags.parse_truncate(arguments.truncate)
    if arguments.dimensions is not None:
        body["dimensions"] = arguments.dimensions
    with answer.loading(client, model):
        result = client.post("/api/embed", answer.with_keep_alive(body, arguments.keepalive))
    vectors = result.get("embeddings") or []
    if not vectors:
        raise GristmillError("the server sent no embedding")
    sys.stdout.write(json.dumps(vectors[0], separators=(",", ":")) + "\n")
    if arguments.verbose:
        print_metrics(result)
