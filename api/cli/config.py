"""The ``config`` command: every setting, its value, and where the value comes from. Asks no server."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping

from ..config_file import Config, load
from ..readings import ENVIRONMENT, Reading
from ..settings import SETTINGS
from .terminal import one_line

_PREFIXES = ("OLLAMA_", "GRISTMILL_")
_GAP = "   "


def config(arguments: Namespace) -> int:
    """Raises GristmillError for a file that is broken."""
    found = load(SETTINGS, os.environ)
    unknown = _unknown(os.environ)
    sys.stdout.write(as_json(found, unknown) if arguments.json else as_text(found, unknown))
    return 0


def as_text(config: Config, unknown: Iterable[str]) -> str:
    """A table of what works, one of what is accepted without effect, and a line for everything that is wrong."""
    works = [r for r in config.readings if not r.setting.no_effect]
    idle = [r for r in config.readings if r.setting.no_effect]
    lines = [f"Settings file: {config.file.path or 'none'}", ""]
    lines += _table([(r.setting.name, r.shown or "-", r.origin) for r in works])
    lines += ["", "Accepted, without effect:"]
    lines += _table([(f"{r.setting.name}{'=' + r.shown if r.is_given else ''}", r.setting.no_effect) for r in idle])
    problems = [*(r.problem for r in works if r.problem), *config.file.warnings]
    problems += [f"{name} is not known ({ENVIRONMENT})" for name in unknown]
    return "\n".join(map(one_line, [*lines, *(["", *problems] if problems else [])])) + "\n"


def as_json(config: Config, unknown: Iterable[str]) -> str:
    """``{"file": ..., "settings": [...], "warnings": [...], "unknown": [...]}``"""
    whole = {
        "file": str(config.file.path) if config.file.path else None,
        "settings": [_object(reading) for reading in config.readings],
        "warnings": list(config.file.warnings),
        "unknown": list(unknown),
    }
    return json.dumps(whole, indent=2) + "\n"


def _object(reading: Reading) -> dict[str, str]:
    row = reading.setting
    optional = {"problem": reading.problem, "no_effect": row.no_effect}
    return {
        "name": row.name,
        "value": reading.shown,
        "origin": reading.origin,
        "default": row.default,
        "type": row.kind.name,
        "meaning": row.meaning,
        **{key: text for key, text in optional.items() if text},
    }


def _unknown(env: Mapping[str, str]) -> list[str]:
    """Names in the environment that look like settings and are none."""
    known = {row.name for row in SETTINGS}
    return sorted(name for name in env if name.startswith(_PREFIXES) and name not in known)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
