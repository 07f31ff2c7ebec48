"""Where the server is: the settings of this process, read once, and the address a client connects to."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gristmill.runtime.errors import GristmillError, cut

from ..settings import Settings

_ALL_INTERFACES = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Address:
    """``scheme`` is http or https; ``path`` (without a slash at its end) goes before every request's path."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Address:
        """Raises GristmillError for a scheme that is neither http nor https."""
        if settings.scheme not in ("http", "https"):
            raise GristmillError(f"OLLAMA_HOST has the scheme {cut(settings.scheme)}, use http or https")
        return cls(settings.scheme, settings.host, settings.port, settings.path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host or "0.0.0.0"
        place = f"{host}:{self.port}{self.path}"
        return place if self.scheme == "http" else f"{self.scheme}://{place}"

    @property
    def connect_host(self) -> str:
        """A server may listen on all interfaces; a client needs one of them."""
        return _ALL_INTERFACES.get(self.host, self.host)


def read_settings() -> Settings:
    """The settings this process was started with."""
    return Settings.from_env(os.environ)
