"""Numbers and times as people read them, and the tables they stand in.

The forms are those of Ollama's command line, so that scripts which read its output go on working. Knows no
terminal and no server.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_BYTE_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
_PARAMETER_UNITS = (("T", 10**12, 1), ("B", 10**9, 1), ("M", 10**6, 2), ("K", 10**3, 0))
_GAP = " " * 4
_FOREVER_S = 20 * 365 * 24 * 3600


def size(n_bytes: int) -> str:
    """Decimal units: ``512 B``, ``2.0 GB``, ``2 GB`` (exactly), ``13 GB`` (cut, not rounded)."""
    for unit, factor in _BYTE_UNITS:
        if n_bytes >= factor:
            value = n_bytes / factor
            return f"{int(value)} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
    return f"{n_bytes} B"


def parameter_count(n: int) -> str:
    """``7.2B``, ``133.70M``, ``512``."""
    for unit, factor, digits in _PARAMETER_UNITS:
        if n >= factor:
            return f"{n / factor:.{digits}f}{unit}"
    return str(n)


def span(seconds: float) -> str:
    """A length of time in its largest unit, rounded the way Ollama does (hours to the nearest)."""
    if seconds < 60:
        return "Less than a second" if seconds < 1 else _count(int(seconds), "second")
    minutes = int(seconds // 60)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    return f"{days // 30} months" if days < 2 * 365 else f"{days // 365} years"


def _count(n: int, unit: str) -> str:
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time with up to nine fractional digits. None for a missing time and for Go's zero time.

    Raises ValueError when the text is no time.
    """
    if not text or text.startswith("0001-01-01"):
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def relative_time(time: datetime | None, now: datetime) -> str:
    """``3 days ago``, ``4 minutes from now``, ``Forever`` (over 20 years ahead), ``Never`` (no time)."""
    if time is None:
        return "Never"
    ahead_s = (time - now).total_seconds()
    if ahead_s > _FOREVER_S:
        return "Forever"
    return f"{span(ahead_s)} from now" if ahead_s > 0 else f"{span(-ahead_s)} ago"


def go_number(value: float) -> str:
    """Go's ``%g``: the shortest digits that read back, an exponent from a million up (``1.345e+08``)."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-4 <= abs(value) < 1e6:
        return repr(float(value)).removesuffix(".0")
    # 17 significant digits always read back, so the search ends.
    return next(text for n in range(17) if float(text := f"{value:.{n}e}") == value)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned columns without borders, each as wide as its widest cell plus four spaces."""
    return columns([header, *rows])


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """``rows`` as lines, every cell padded, the last one too; rows may be of different lengths."""
    n_columns = max((len(row) for row in rows), default=0)
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(n_columns)]
    padded = (zip(row, widths, strict=False) for row in rows)
    return "".join(indent + "".join(cell.ljust(width) + _GAP for cell, width in row) + "\n" for row in padded)
