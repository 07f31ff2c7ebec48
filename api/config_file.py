"""The file of settings: TOML, with the names of the environment, or short ones in lower case.

    OLLAMA_KEEP_ALIVE = "10m"      or      keep_alive = "10m"
    num_parallel = 8
    origins = ["https://chat.example", "app://*"]

It is found at ``GRISTMILL_CONFIG``, else at ``gristmill/config.toml`` below ``XDG_CONFIG_HOME`` or ``~/.config``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.runtime.errors import GristmillError, cut

from .readings import Reading, read_all
from .setting import Setting
from .settings_elsewhere import CONFIG

__all__ = ["Config", "ConfigFile", "load"]

MAX_BYTES = 1 << 20
_OTHERS = 0o077  # what the group and others may do with a file


@dataclass(frozen=True)
class ConfigFile:
    """``texts`` by full name, as the environment would have them. ``path`` is None where there is no file."""

    path: Path | None
    texts: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """Everything that was read, from the environment and the file."""

    file: ConfigFile
    readings: tuple[Reading, ...]


def load(table: Iterable[Setting], env: Mapping[str, str]) -> Config:
    """Raises GristmillError, in one line, for a file that is broken, or was named and is not there."""
    table = tuple(table)
    file = _find(table, env)
    return Config(file, read_all(table, env, file.texts, str(file.path)))


def _find(table: tuple[Setting, ...], env: Mapping[str, str]) -> ConfigFile:
    path, named = _place(env)
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
            mode = os.fstat(opened.fileno()).st_mode
    except FileNotFoundError:
        if not named:
            return ConfigFile(None, {})
        raise GristmillError(f"{CONFIG.name}: there is no file {path}") from None
    except OSError as error:
        raise GristmillError(f"cannot read the settings in {path}: {error.strerror}") from None
    return _parse(path, data, table, readable_by_others=bool(mode & _OTHERS))


def _place(env: Mapping[str, str]) -> tuple[Path, bool]:
    """Where the file is, or would be; and whether it was asked for by name."""
    home, named = Path(env.get("HOME") or Path.home()), env.get(CONFIG.name, "").strip().strip("\"'")
    if named:
        return home / named[2:] if named.startswith("~/") else Path(named), True
    base = env.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if os.path.isabs(base) else home / ".config"
    return folder / "gristmill" / "config.toml", False


def _parse(path: Path, data: bytes, table: tuple[Setting, ...], *, readable_by_others: bool) -> ConfigFile:
    names = {name: row for row in table if row is not CONFIG for name in (row.name, row.short) if name}
    texts: dict[str, str] = {}
    warnings = []
    for key, value in _decode(path, data).items():
        row = names.get(key)
        if row is None:
            warnings.append(f"{path}: unknown setting {cut(key)}{_hint(key, names)}")
            continue
        if row.name in texts:
            raise GristmillError(f"the settings in {path} name {row.name} twice: as {row.short} as well")
        texts[row.name] = _text(path, row, value)
        if row.secret and readable_by_others and texts[row.name]:
            warnings.append(f"{path}: {row.name} is a secret, and others may read the file; chmod 600 helps")
    return ConfigFile(path, texts, tuple(warnings))


def _decode(path: Path, data: bytes) -> dict[str, Any]:
    import tomllib  # only for those who have a file

    if len(data) > MAX_BYTES:
        raise GristmillError(f"the settings in {path} are over the limit of {MAX_BYTES} bytes")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise GristmillError(f"the settings in {path} are not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise GristmillError(f"the settings in {path} are no TOML: {cut(str(error))[1:-1]}") from None


def _hint(key: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.75)
    return f"; is {near[0]} meant?" if near else ""


def _text(path: Path, row: Setting, value: Any) -> str:
    """A TOML value as the environment would have it. Raises GristmillError for a table, a date and the like."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) and "," not in item for item in value):
        return ",".join(value)
    raise GristmillError(f"the settings in {path}: {row.name} must be a text, a number, a boolean or a list of texts")
