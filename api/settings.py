"""Settings of the server and the command line, from the environment, with Ollama's names and rules.

Knows what the values mean, not who uses them. The environment is read here and nowhere else, once, at the edge.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from gristmill.runtime.errors import InvalidRequest, cut

from .durations import FOREVER, parse_duration
from .memory import KV_BYTES

__all__ = ["Settings"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
AUTOMATIC_SLOTS = 16
AUTOMATIC_CONTEXTS = 4
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set from outside. Times are seconds; ``FOREVER`` (inf) is no limit, 0 in a count is automatic.

    ``host`` is empty where all interfaces are meant. ``scheme`` and ``path`` matter to clients only. ``origins``
    are allowed in addition to the built-in ones. ``debug`` is 0, 1 (debug) or 2 (trace). ``spare_runner`` keeps
    a process with torch ready for the next model.
    """

    scheme: str = "http"
    host: str = "127.0.0.1"
    port: int = 11434
    path: str = ""
    models: Path = Path("~/.ollama/models")
    origins: tuple[str, ...] = ()
    keep_alive_s: float = 300.0
    load_timeout_s: float = 300.0
    max_loaded_models: int = 0
    num_parallel: int = 0
    max_queue: int = 512
    context_length: int = 0
    kv_cache_type: str = "f16"
    noprune: bool = False
    nohistory: bool = False
    debug: int = 0
    backend: str = "auto"
    spare_runner: bool = True

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
        """``OLLAMA_*``, and ``GRISTMILL_*`` for what is ours alone. A bad value is warned about and not used."""
        reader = _Reader(env)
        scheme, host, port, path = _parse_host(reader.text("OLLAMA_HOST"))
        return cls(
            scheme=scheme,
            host=host,
            port=port,
            path=path,
            models=_expand(reader.text("OLLAMA_MODELS") or "~/.ollama/models", env),
            origins=tuple(o for o in map(str.strip, reader.text("OLLAMA_ORIGINS").split(",")) if o),
            keep_alive_s=reader.seconds("OLLAMA_KEEP_ALIVE", cls.keep_alive_s, zero=0.0),
            load_timeout_s=reader.seconds("OLLAMA_LOAD_TIMEOUT", cls.load_timeout_s, zero=FOREVER),
            max_loaded_models=reader.count("OLLAMA_MAX_LOADED_MODELS", cls.max_loaded_models),
            num_parallel=reader.count("OLLAMA_NUM_PARALLEL", cls.num_parallel),
            max_queue=reader.count("OLLAMA_MAX_QUEUE", cls.max_queue) or cls.max_queue,  # with 0 nothing could load
            context_length=reader.count("OLLAMA_CONTEXT_LENGTH", cls.context_length),
            kv_cache_type=reader.choice("OLLAMA_KV_CACHE_TYPE", cls.kv_cache_type, tuple(KV_BYTES)),
            noprune=reader.flag("OLLAMA_NOPRUNE"),
            nohistory=reader.flag("OLLAMA_NOHISTORY"),
            debug=reader.level("OLLAMA_DEBUG"),
            backend=reader.text("GRISTMILL_BACKEND").lower() or cls.backend,
            spare_runner=reader.flag("GRISTMILL_SPARE_RUNNER", cls.spare_runner),
        )


def _expand(text: str, env: Mapping[str, str]) -> Path:
    """``~`` is the home of this environment, not of the process."""
    if env.get("HOME") and (text == "~" or text.startswith("~/")):
        return Path(env["HOME"], text[2:])
    return Path(text).expanduser()


class _Reader:
    """The environment, value by value."""

    def __init__(self, env: Mapping[str, str]):
        self._env = env

    def text(self, name: str) -> str:
        """Without white space and quotes around it; empty where it is not set."""
        return self._env.get(name, "").strip().strip("\"'")

    def flag(self, name: str, default: bool = False) -> bool:
        """Any text that is no boolean counts as true."""
        text = self.text(name).lower()
        return text not in _FALSE if text else default

    def choice(self, name: str, default: str, known: tuple[str, ...]) -> str:
        text = self.text(name).lower() or default
        return text if text in known else _warned(name, text, default)

    def count(self, name: str, default: int) -> int:
        text = self.text(name)
        if not text:
            return default
        if _INTEGER.fullmatch(text) and int(text) >= 0:
            return int(text)
        return _warned(name, text, default)

    def seconds(self, name: str, default: float, *, zero: float) -> float:
        """A duration or bare seconds; negative is forever, and 0 is ``zero``."""
        text = self.text(name)
        if not text:
            return default
        try:
            value = parse_duration(text) / 1e9
        except InvalidRequest:
            if not _INTEGER.fullmatch(text):
                return _warned(name, text, default)
            value = float(text)
        return FOREVER if value < 0 else value or zero

    def level(self, name: str) -> int:
        text = self.text(name).lower()
        if text in _TRUE:
            return 1
        return min(int(text), 2) if _INTEGER.fullmatch(text) and int(text) > 0 else 0


def _warned(name: str, text: str, default: T) -> T:
    _log.warning("%s=%s is not valid, using %s", name, cut(text), "forever" if default == math.inf else default)
    return default


def _parse_host(text: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path) of ``[scheme://][host][:port][/path]``; IPv6 with or without brackets."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    default_port = _DEFAULT_PORTS.get(scheme, 11434) if separator else 11434
    address, slash, path = rest.partition("/")
    host, port_text = _split_port(address)
    if port_text is None:
        return scheme, host or "127.0.0.1", default_port, slash + path.rstrip("/") if path else ""
    port = default_port
    if _INTEGER.fullmatch(port_text) and 0 <= int(port_text) <= 65535:
        port = int(port_text)
    else:
        _warned("port of OLLAMA_HOST", port_text, default_port)
    return scheme, host, port, slash + path.rstrip("/") if path else ""


def _split_port(address: str) -> tuple[str, str | None]:
    """Host without brackets, and the port's text, or None where there is no colon for one."""
    bare = address.strip("[]")
    try:
        return str(ipaddress.ip_address(bare)), None
    except ValueError:
        pass
    host, colon, port = address.rpartition(":")
    if not colon:
        return bare, None
    return host.strip("[]"), port
