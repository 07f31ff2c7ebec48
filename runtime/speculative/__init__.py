"""Guessing the next tokens, so that one forward pass can check several.

A guess never changes an answer: at every place the engine draws the token that it would draw anyway, and a guess is
only right if it is that token. ``Speculator`` decides for whom and how much is guessed; a ``Drafter`` guesses: from the
text so far (``PromptLookup``), or with a smaller model (``DraftModel``).
"""

from .base import Drafter
from .draft_model import DraftModel
from .lookup import PromptLookup
from .speculator import Speculator

__all__ = ["DraftModel", "Drafter", "PromptLookup", "Speculator"]
