"""What the research commands share: which file a model is, texts from files, progress, and results as text or JSON."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.runtime.errors import GristmillError, cut

from ..store import Store
from . import human
from .address import read_settings
from .model_files import looks_like_path
from .progress import Progress

if TYPE_CHECKING:
    from gristmill.runtime.measure import Window
    from gristmill.runtime.model import Model

__all__ = ["figure", "model_path", "on_window", "open_named", "print_result", "read_text", "target_path", "windows_of"]

MAX_TEXT_BYTES = 1 << 30


def model_path(named: str) -> Path:
    """The file or folder that ``named`` is, or the weights of the store's model of that name. Raises GristmillError."""
    path = Path(named).expanduser()
    if looks_like_path(named) or path.exists():
        if not path.exists():
            raise GristmillError(f"{cut(named)} does not exist")
        return path
    return Store(read_settings().models).find(named).model_path


def target_path(named: str, *, replace: bool) -> Path:
    """Where a new file goes. Raises GristmillError for what is no place for one, and unless ``replace`` for a file."""
    target = Path(named).expanduser()
    if target.is_dir() or not target.name:
        raise GristmillError(f"{cut(named)} is a folder, give the name of a file in it")
    if not target.parent.is_dir():
        raise GristmillError(f"{cut(str(target.parent))} is not a folder")
    if target.exists() and not replace:
        raise GristmillError(f"{cut(named)} is there already, --force replaces it")
    return target


def open_named(named: str, n_ctx: int, backend: str = "auto") -> Model:
    """Raises GristmillError."""
    from gristmill.runtime.model import open_model

    return open_model(model_path(named), n_ctx=n_ctx, backend=backend)


def read_text(name: str) -> str:
    """A file's text, or with ``-`` that of standard input. Raises GristmillError, OSError."""
    if name == "-":
        data = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    else:
        with Path(name).expanduser().open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise GristmillError(f"{cut(name)} is over the limit of {MAX_TEXT_BYTES} bytes")
    return data.decode("utf-8", "replace")


def windows_of(model: Model, arguments: Namespace) -> list[Window]:
    """The text of the arguments in windows; ``--chunks`` takes the first ones. Raises GristmillError."""
    from gristmill.runtime.measure import text_windows

    windows = text_windows(model, read_text(arguments.text), arguments.ctx, every_token=arguments.all)
    return windows[: arguments.chunks or None]


def on_window(progress: Progress, n_windows: int) -> Callable[..., None]:
    """To be called with the number of windows done."""
    return lambda n, *_: progress.show("reading the text", n, n_windows)


def figure(value: float) -> str:
    """Five significant digits."""
    return f"{value:.5g}"


def print_result(arguments: Namespace, result: dict[str, Any], rows: Sequence[Sequence[str]]) -> int:
    """``rows`` as a table, or with ``--json`` the ``result`` as one JSON object."""
    sys.stdout.write(json.dumps(result, indent=2) + "\n" if arguments.json else human.columns(rows))
    return 0
