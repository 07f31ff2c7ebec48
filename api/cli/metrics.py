"""The timings that ``--verbose`` shows after an answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ..durations import format_duration


def print_metrics(final: Mapping[str, Any]) -> None:
    """The timings of an answer's last chunk on standard error; what is zero is left out."""
    rows = [
        ("total duration", _duration(final, "total_duration")),
        ("load duration", _duration(final, "load_duration")),
        *_work(final, "prompt eval", "prompt_eval"),
        *_work(final, "eval", "eval"),
    ]
    for name, value in rows:
        if value:
            print(f"{name + ':':<21} {value}", file=sys.stderr)
    sys.stderr.flush()


def _duration(final: Mapping[str, Any], key: str) -> str:
    nanoseconds = final.get(key) or 0
    return format_duration(nanoseconds) if nanoseconds else ""


def _work(final: Mapping[str, Any], name: str, key: str) -> list[tuple[str, str]]:
    count, nanoseconds = final.get(f"{key}_count") or 0, final.get(f"{key}_duration") or 0
    return [
        (f"{name} count", f"{count} token(s)" if count else ""),
        (f"{name} duration", _duration(final, f"{key}_duration")),
        (f"{name} rate", f"{count / nanoseconds * 1e9:.2f} tokens/s" if count and nanoseconds else ""),
    ]
