"""Images and sounds that a prompt names by their paths: found, read, checked, and taken out of the text.

Only a path that exists counts, so a text that merely looks like one stays as it is. Knows no request.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gristmill.runtime.errors import GristmillError

_MAX_BYTES = 100 << 20
_MAX_PATH_CHARS = 4096
_MAX_ENDS = 16  # extensions tried behind one beginning: a pasted text must not cost thousands of look-ups
_START = re.compile(r"(?<![\w./\\~-])(?:[A-Za-z]:[\\/]|~/|\.{0,2}/|\.?\\)")
_END = re.compile(r"\.(?:jpe?g|png|webp|wav)(?!\w)", re.IGNORECASE)
_QUOTES = "'\""


class UnusableFile(GristmillError):
    """A file that was named cannot be sent."""


@dataclass(frozen=True)
class Attachment:
    """``kind`` is ``image`` or ``audio``; ``data`` is base64, as requests hold it."""

    path: str
    kind: str
    data: str


def attach(text: str) -> tuple[str, list[Attachment]]:
    """``text`` without the paths of the files it names, and the files. Raises UnusableFile."""
    attachments = []
    for start, end, path in reversed(list(_find(text))):
        attachments.append(_read(path))
        text = _without(text, start, end)
    return text.strip() if attachments else text, attachments[::-1]


def starts_with_file(text: str) -> bool:
    """Whether ``text`` begins with the path of a file that can be attached: then it is no slash command."""
    first = next(_find(text.lstrip()), None)
    return first is not None and first[0] == 0


def _find(text: str) -> Iterator[tuple[int, int, Path]]:
    """Where the paths of existing files begin and end."""
    position = 0
    while match := _START.search(text, position):
        found = _shortest(text, match.start())
        position = found[0] if found else match.end()
        if found:
            yield match.start(), *found


def _shortest(text: str, start: int) -> tuple[int, Path] | None:
    """The end of the shortest path from ``start`` at which there is a file. A path may hold spaces."""
    line_end = text.find("\n", start)
    limit = min(len(text) if line_end < 0 else line_end, start + _MAX_PATH_CHARS)
    for n, match in enumerate(_END.finditer(text, start, limit)):
        if n == _MAX_ENDS:
            break
        raw = text[start : match.end()]
        for spelling in dict.fromkeys((raw, re.sub(r"\\(.)", r"\1", raw), raw.replace("%20", " "))):
            path = Path(spelling)
            with suppress(OSError, ValueError, RuntimeError):  # too long, a zero character, no home
                path = path.expanduser()
                if path.is_file():
                    return match.end(), path
    return None


def _without(text: str, start: int, end: int) -> str:
    """``text`` without a span, the quotes around it, and one of the spaces that would then meet."""
    if start and text[start - 1] in _QUOTES and text[end : end + 1] == text[start - 1]:
        start, end = start - 1, end + 1
    before, after = text[:start], text[end:]
    return before + (after[1:] if before.endswith(" ") and after.startswith(" ") else after)


def _read(path: Path) -> Attachment:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UnusableFile(f"Couldn't process file: {path} is larger than 100 MB")
        content = path.read_bytes()
    except OSError as error:
        raise UnusableFile(f"Couldn't process file: {path}: {error.strerror}") from None
    kind = _kind(content[:12])
    if kind is None:
        raise UnusableFile(f"Couldn't process file: {path} is no JPEG, PNG or WebP image and no WAV sound")
    return Attachment(str(path), kind, base64.b64encode(content).decode())


def _kind(head: bytes) -> str | None:
    """From the first twelve bytes, whatever the name says."""
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return "image"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image", b"WAVE": "audio"}.get(head[8:])
    return None
