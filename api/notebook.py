"""Opening models by name, for scripts and notebooks: a path, or a name in the model store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config_file
from .settings import SETTINGS, Settings
from .store import Store

if TYPE_CHECKING:
    from gristmill.runtime.model import Model
    from gristmill.runtime.tokenizer import Tokenizer


def open_model(model: str | os.PathLike[str], **options: Any) -> Model:
    """``gristmill.runtime.open_model``, with its options, on a file, a folder or a model of the store (OLLAMA_MODELS).

    Raises ModelNotFound where there is neither, and what opening a file raises.
    """
    from gristmill import runtime

    opened: Model = runtime.open_model(_path(model), **options)
    return opened


def open_tokenizer(model: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer alone; ``model`` as for ``open_model``."""
    from gristmill.runtime import tokenizer

    return tokenizer.open_tokenizer(_path(model))


def _path(model: str | os.PathLike[str]) -> Path:
    path = Path(model)
    if path.exists():
        return path
    settings = Settings.of(config_file.load(SETTINGS, os.environ).readings, os.environ)
    return Store(settings.models).find(os.fspath(model)).model_path
