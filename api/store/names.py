"""Model names: ``[scheme://][host/][namespace/]model[:tag]``, ASCII only.

A ``Name`` is the only thing a manifest's path is made of, so a text that parses cannot lead out of the store.
Knows no files: which spelling of a name is stored, is the store's to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gristmill.runtime.errors import InvalidRequest

__all__ = ["DEFAULT_HOST", "DEFAULT_NAMESPACE", "DEFAULT_TAG", "Name"]

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_TAG = _MODEL
_SCHEME = re.compile(r"https?://")
_MAX_CHARS = len("https://") + 350 + 3 * 81  # the longest name there is


@dataclass(frozen=True)
class Name:
    """A complete model name. Raises InvalidRequest for a part that is not allowed."""

    host: str
    namespace: str
    model: str
    tag: str

    def __post_init__(self) -> None:
        for pattern, part in zip((_HOST, _NAMESPACE, _MODEL, _TAG), self.parts, strict=True):
            if not pattern.fullmatch(part):
                raise InvalidRequest("invalid model name")

    @classmethod
    def parse(cls, text: str) -> Name:
        """Cut from the right: tag, model, namespace, the rest is the host; missing parts get their defaults.

        A scheme is dropped. Raises InvalidRequest ``invalid model name``.
        """
        if len(text) > _MAX_CHARS:
            raise InvalidRequest("invalid model name")
        path, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:
            path, tag = text, DEFAULT_TAG
        path, slash, model = path.rpartition("/")
        if not slash:
            return cls(DEFAULT_HOST, DEFAULT_NAMESPACE, model, tag)
        host, slash, namespace = path.rpartition("/")
        if not slash:
            return cls(DEFAULT_HOST, namespace, model, tag)
        return cls(_SCHEME.sub("", host, count=1) if _SCHEME.match(host) else host, namespace, model, tag)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model, tag: also the path of the manifest below its folder."""
        return self.host, self.namespace, self.model, self.tag

    @property
    def short(self) -> str:
        """For display: the host goes if it is the default one, then the namespace if it is, too."""
        if self.host != DEFAULT_HOST:
            return self.full
        if self.namespace != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def __str__(self) -> str:
        return self.full
