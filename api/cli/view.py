"""What the user can switch about the interactive prompt without the model noticing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class KeptHistory(Protocol):
    """Whether new messages are remembered."""

    is_kept: bool


@dataclass
class View:
    """How answers are shown, and the history."""

    history: KeptHistory
    word_wrap: bool = True
    verbose: bool = False
    hides_thinking: bool = False
