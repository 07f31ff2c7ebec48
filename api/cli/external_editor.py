"""Writing a message in the user's own editor (Ctrl+G)."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gristmill.runtime.errors import GristmillError, cut

_VARIABLES = ("OLLAMA_EDITOR", "VISUAL", "EDITOR")
_DEFAULT = "vi"


class ExternalEditor:
    """The editor that the environment names, ``vi`` where it names none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        named = (environment.get(name, "").strip() for name in _VARIABLES)
        self._command = next(filter(None, named), _DEFAULT)

    def edit(self, text: str) -> str:
        """``text`` as the user leaves it. Raises GristmillError when the editor does not start or fails."""
        with tempfile.TemporaryDirectory(prefix="gristmill-") as folder:
            path = Path(folder, "prompt.txt")
            path.write_text(text, encoding="utf-8")
            self._run(path)
            return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")

    def _run(self, path: Path) -> None:
        name = cut(self._command)
        try:
            status = subprocess.run([*shlex.split(self._command), str(path)], check=False).returncode
        except (OSError, ValueError):  # no such program, or quotes that do not close
            raise GristmillError(f"could not start the editor {name}: set OLLAMA_EDITOR to another") from None
        if status:
            raise GristmillError(f"the editor {name} ended with status {status}: the message is as it was")
