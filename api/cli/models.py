"""The short commands: list, ps, cp, rm, stop, version. Each is one or two requests and a line or a table."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from gristmill import __version__
from gristmill.runtime.errors import GristmillError, cut

from ..ollama_version import OLLAMA_VERSION
from . import human
from .client import Client, ServerError, open_client

_ID_DIGITS = 12


def list_models(arguments: Namespace) -> int:
    sys.stdout.write(list_table(open_client(), arguments.prefix))
    return 0


def list_table(client: Client, prefix: str = "") -> str:
    """The table of all models whose name starts with ``prefix``, in any letter case."""
    now = datetime.now(UTC)
    rows = [
        [
            model["name"],
            model["digest"][:_ID_DIGITS],
            "-" if model.get("remote_model") else human.size(model["size"]),
            human.relative_time(human.parse_time(model["modified_at"]), now),
        ]
        for model in _models(client, "/api/tags", prefix)
    ]
    return human.table(["NAME", "ID", "SIZE", "MODIFIED"], rows)


def ps(arguments: Namespace) -> int:
    now = datetime.now(UTC)
    rows = [
        [
            model["name"],
            model["digest"][:_ID_DIGITS],
            human.size(model["size"]),
            processor(model["size"], model["size_vram"]),
            str(model.get("context_length", "")),
            _until(human.parse_time(model["expires_at"]), now),
        ]
        for model in _models(open_client(), "/api/ps", arguments.prefix)
    ]
    sys.stdout.write(human.table(["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"], rows))
    return 0


def _models(client: Client, path: str, prefix: str) -> list[dict[str, Any]]:
    models = client.get(path).get("models") or []
    return [model for model in models if model["name"].lower().startswith(prefix.lower())]


def processor(n_bytes: int, n_gpu_bytes: int) -> str:
    """Where a model is: ``100% CPU``, ``100% GPU``, ``37%/63% CPU/GPU``."""
    if n_gpu_bytes == 0:
        return "100% CPU"
    if n_gpu_bytes > n_bytes:
        return "Unknown"
    if n_gpu_bytes == n_bytes:
        return "100% GPU"
    cpu_percent = int((n_bytes - n_gpu_bytes) / n_bytes * 100 + 0.5)
    return f"{cpu_percent}%/{100 - cpu_percent}% CPU/GPU"


def _until(time: datetime | None, now: datetime) -> str:
    return "Stopping..." if time is not None and time <= now else human.relative_time(time, now)


def copy(arguments: Namespace) -> int:
    open_client().post("/api/copy", {"source": arguments.source, "destination": arguments.destination})
    print(f"copied '{arguments.source}' to '{arguments.destination}'")
    return 0


def remove(arguments: Namespace) -> int:
    client = open_client()
    for name in arguments.models:
        try:
            _unload(client, name)
        except ServerError as error:
            if error.status != 404:  # a missing model is better reported by the removal
                raise
        client.delete("/api/delete", {"model": name})
        print(f"deleted '{name}'")
    return 0


def stop(arguments: Namespace) -> int:
    try:
        _unload(open_client(), arguments.model)
    except ServerError as error:
        if error.status != 404:
            raise
        raise GristmillError(f"couldn't find model {cut(arguments.model)} to stop") from None
    return 0


def _unload(client: Client, name: str) -> None:
    client.post("/api/generate", {"model": name, "keep_alive": 0})


def version(_: Namespace | None) -> int:
    """The client's version, and the Ollama version whose API the server speaks; a warning if ours is another."""
    try:
        server = open_client().version()
    except GristmillError:
        server = ""
        print("Warning: could not connect to a running server", file=sys.stderr)
    print(f"gristmill version is {__version__}")
    if server:
        print(f"server version is {server}")
    if server not in ("", OLLAMA_VERSION):
        print(f"Warning: client version is {OLLAMA_VERSION}", file=sys.stderr)
    return 0
