"""Reading settings: the text of each, where it comes from, and what it is worth. The environment wins over the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gristmill.runtime.errors import cut

from .setting import Setting

__all__ = ["ENVIRONMENT", "Reading", "exports", "read_all"]

ENVIRONMENT, DEFAULT = "environment", "default"
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Reading:
    """One setting as it counts. ``text`` is what it was given as, ``origin`` who gave it: a file's path, or a word.

    ``values`` are for the fields of ``Settings``; the default's where there is a ``problem`` with the text.
    """

    setting: Setting
    text: str
    origin: str
    values: Mapping[str, Any] = field(repr=False)
    problem: str = ""

    @property
    def is_given(self) -> bool:
        return self.origin != DEFAULT

    @property
    def shown(self) -> str:
        """The text that counts, as it may be seen by anyone."""
        text = self.setting.default if self.problem else self.text
        return HIDDEN if self.setting.secret and text else text


def read_all(
    table: Iterable[Setting], env: Mapping[str, str], file: Mapping[str, str] | None = None, path: str = ""
) -> tuple[Reading, ...]:
    """A reading for each row of ``table``; ``file`` holds texts by name, of the file at ``path``."""
    return tuple(_read(setting, env, file or {}, path) for setting in table)


def _read(setting: Setting, env: Mapping[str, str], file: Mapping[str, str], path: str) -> Reading:
    names = (setting.name, setting.name.lower()) if setting.name.endswith("_PROXY") else (setting.name,)
    given = next((text for name in names if (text := _trimmed(env.get(name, "")))), "")
    origin = ENVIRONMENT
    if not given:
        given, origin = _trimmed(file.get(setting.name, "")), path
    default = setting.values(setting.default) if setting.default else {}
    if not given:
        return Reading(setting, setting.default, DEFAULT, default)
    try:
        return Reading(setting, given, origin, setting.values(given))
    except ValueError:
        shown = "" if setting.secret else f"={cut(given)}"
        problem = f"{setting.name}{shown} is not valid, using {setting.default or 'nothing'}"
        return Reading(setting, given, origin, default, problem)


def exports(readings: Iterable[Reading]) -> dict[str, str]:
    """What others read from the environment, and is not there because a file says it."""
    rows = [reading for reading in readings if reading.setting.exported and reading.is_given]
    return {reading.setting.name: reading.text for reading in rows if reading.origin != ENVIRONMENT}


def _trimmed(text: str) -> str:
    """Without white space and quotes around it."""
    return text.strip().strip("\"'")
