"""What a model can do, as far as the command line cares. Knows no request but the answer of ``/api/show``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Abilities:
    """``takes_files``: images or sounds can be sent along. ``embeds``: it answers with a vector, not with text."""

    thinks: bool = False
    takes_files: bool = False
    embeds: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Abilities:
        """``facts`` is the answer of ``/api/show``. Old servers name no vision, but show the projector."""
        names = set(facts.get("capabilities") or ())
        takes_files = bool(names & {"vision", "audio"} or facts.get("projector_info"))
        return cls("thinking" in names, takes_files, "embedding" in names)
