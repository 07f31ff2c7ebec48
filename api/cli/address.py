"""Where the server is: the settings of this process, read once, and the address a client connects to."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from gristmill.runtime.errors import GristmillError, cut

from .. import config_file
from ..host import UNIX
from ..readings import exports
from ..settings import SETTINGS, Settings

_log = logging.getLogger(__name__)

_ALL_INTERFACES = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Address:
    """``scheme`` is http, https or unix; ``path`` (without a slash at its end) goes before every request's path.

    ``socket`` is the file of a Unix socket, empty for the others.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    socket: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Address:
        """Raises GristmillError for another scheme."""
        if settings.scheme not in ("http", "https", UNIX):
            raise GristmillError(f"OLLAMA_HOST has the scheme {cut(settings.scheme)}, use http, https or unix")
        return cls(settings.scheme, settings.host, settings.port, settings.path, settings.socket)

    def __str__(self) -> str:
        if self.scheme == UNIX:
            return f"unix://{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host or "0.0.0.0"
        place = f"{host}:{self.port}{self.path}"
        return place if self.scheme == "http" else f"{self.scheme}://{place}"

    @property
    def connect_host(self) -> str:
        """A server may listen on all interfaces; a client needs one of them."""
        return _ALL_INTERFACES.get(self.host, self.host)


def read_settings() -> Settings:
    """The settings this process was started with: of its environment, and of the file where that says nothing.

    What runners and other programs read from their environment by themselves is put there.
    """
    config = config_file.load(SETTINGS, os.environ)
    for warning in config.file.warnings:
        _log.warning("%s", warning)
    os.environ.update(exports(config.readings))
    return Settings.of(config.readings, os.environ)
