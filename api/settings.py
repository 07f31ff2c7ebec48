"""Settings of the server and the command line, with Ollama's names and rules. A new setting is one row here.

Knows what the values mean, not who uses them. Where they come from: ``readings`` and ``config_file``.
"""

from __future__ import annotations

# ruff: noqa: RUF009 - what _row returns is a dataclass field
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from .durations import FOREVER
from .host import parse_host
from .memory import KV_BYTES
from .readings import Reading, read_all
from .setting import AUTO_FLAG, FLAG, LEVEL, LIST, PATH, SECRET, TEXT, WORD, Kind, Setting, choice, count, duration
from .settings_elsewhere import ELSEWHERE

__all__ = ["SETTINGS", "Settings"]

_log = logging.getLogger(__name__)
_ROW = "row"
AUTOMATIC_SLOTS = 16
AUTOMATIC_CONTEXTS = 4

HOST = Setting(
    "OLLAMA_HOST",
    Kind("address", parse_host),
    "127.0.0.1:11434",
    "Address of the server, or unix:///path of a socket",
    ("scheme", "host", "port", "path", "socket"),
)


def _row(name: str, kind: Kind, default: str, meaning: str, *, client: bool = False, secret: bool = False) -> Any:
    """A field of ``Settings``, with its row; ``default`` is the text that stands for its default."""
    row = Setting(name, kind, default, meaning, client=client, secret=secret)
    value = kind.parse(default) if default else kind.empty
    return field(default=value, repr=not secret, metadata={_ROW: row})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set from outside. Times are seconds; ``FOREVER`` (inf) is no limit, 0 in a count is automatic.

    ``host`` is empty where all interfaces are meant. ``scheme`` and ``path`` matter to clients only. ``socket`` is the
    file of a Unix socket, else empty. ``origins`` are allowed in addition to the built-in ones. ``debug`` is 0, 1
    (debug) or 2 (trace). ``metrics`` is None where it depends on who asks,
    ``go_template`` where it depends on the model.
    """

    scheme: str = "http"
    host: str = "127.0.0.1"
    port: int = 11434
    path: str = ""
    socket: str = ""
    models: Path = _row("OLLAMA_MODELS", PATH, "~/.ollama/models", "Folder of the models")
    origins: tuple[str, ...] = _row("OLLAMA_ORIGINS", LIST, "", "Extra allowed origins, separated by commas")
    keep_alive_s: float = _row("OLLAMA_KEEP_ALIVE", duration(), "5m", "How long idle models stay loaded, -1 for ever")
    load_timeout_s: float = _row(
        "OLLAMA_LOAD_TIMEOUT", duration(zero=FOREVER), "5m", "How long a load may make no progress, 0 without limit"
    )
    max_loaded_models: int = _row("OLLAMA_MAX_LOADED_MODELS", count(), "0", "Most models loaded at once, 0 is 3")
    num_parallel: int = _row(
        "OLLAMA_NUM_PARALLEL", count(), "0", "Most requests a model works on at once, 0 is 16 that share 4 contexts"
    )
    max_queue: int = _row("OLLAMA_MAX_QUEUE", count(zero=512), "512", "Most requests waiting for models")
    context_length: int = _row(
        "OLLAMA_CONTEXT_LENGTH", count(), "0", "Context length where a request names none, 0 is 4096"
    )
    kv_cache_type: str = _row("OLLAMA_KV_CACHE_TYPE", choice(*KV_BYTES), "f16", "Type of the KV cache")
    go_template: bool | None = _row(
        "OLLAMA_GO_TEMPLATE", AUTO_FLAG, "auto", "Whether a model's Go template makes prompts; auto: if it does more"
    )
    noprune: bool = _row("OLLAMA_NOPRUNE", FLAG, "0", "Do not remove unused blobs at start")
    nohistory: bool = _row("OLLAMA_NOHISTORY", FLAG, "0", "Do not keep the prompt's history", client=True)
    debug: int = _row("OLLAMA_DEBUG", LEVEL, "0", "Show more in the log")
    backend: str = _row("GRISTMILL_BACKEND", WORD, "auto", "What computes: auto, cpu, reference, reference-bf16")
    spare_runner: bool = _row(
        "GRISTMILL_SPARE_RUNNER", FLAG, "1", "Keep a process ready for the next model; it takes about 230 MB"
    )
    api_keys: str = _row(
        "GRISTMILL_API_KEYS", TEXT, "", "Keys that clients must have one of, separated by commas", secret=True
    )
    api_keys_file: Path | None = _row("GRISTMILL_API_KEYS_FILE", PATH, "", "File with one such key on each line")
    api_key: str = _row("GRISTMILL_API_KEY", SECRET, "", "The key that client commands send", client=True, secret=True)
    tls_cert: Path | None = _row("GRISTMILL_TLS_CERT", PATH, "", "Certificate chain (PEM): the server speaks HTTPS")
    tls_key: Path | None = _row("GRISTMILL_TLS_KEY", PATH, "", "Its private key, if not in the same file")
    tls_ca: Path | None = _row(
        "GRISTMILL_TLS_CA", PATH, "", "Authority (PEM) that client commands trust as well", client=True
    )
    metrics: bool | None = _row(
        "GRISTMILL_METRICS", AUTO_FLAG, "auto", "GET /metrics: 1 for everyone, 0 for nobody, auto for local clients"
    )
    trusted_hosts: tuple[str, ...] = _row(
        "GRISTMILL_TRUSTED_HOSTS", LIST, "", "Private hosts, and hosts of tokens, that registries may send us to"
    )

    @property
    def n_slots(self) -> int:
        """Requests that run at once in one model."""
        return self.num_parallel or AUTOMATIC_SLOTS

    @property
    def n_contexts(self) -> int:
        """Full contexts that a model's KV cache holds: one for each place that was asked for by ``num_parallel``.

        Few requests fill their contexts, so the automatic number of places shares fewer.
        """
        return self.num_parallel or AUTOMATIC_CONTEXTS

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """From the environment alone; see ``of``."""
        return cls.of(read_all(SETTINGS, env), env)

    @classmethod
    def of(cls, readings: Iterable[Reading], env: Mapping[str, str]) -> Self:
        """From what was read; ``~`` is the home of ``env``. A bad value is warned about and not used."""
        values: dict[str, Any] = {}
        for reading in readings:
            if reading.problem:
                _log.warning("%s", reading.problem)
            values |= reading.values
        return cls(**{name: _expanded(value, env) for name, value in values.items()})


def _expanded(value: Any, env: Mapping[str, str]) -> Any:
    """A path without ``~``; any other value as it is."""
    if not isinstance(value, Path):
        return value
    if value.parts[:1] == ("~",) and env.get("HOME"):
        return Path(env["HOME"], *value.parts[1:])
    return value.expanduser()


def _table() -> tuple[Setting, ...]:
    rows = [replace(f.metadata[_ROW], fields=(f.name,)) for f in fields(Settings) if _ROW in f.metadata]
    return (HOST, *rows, *ELSEWHERE)


SETTINGS: tuple[Setting, ...] = _table()
