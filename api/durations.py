"""Durations as Go writes them ("1h30m", "300ms"), because clients and the environment do. Knows no clock."""

from __future__ import annotations

import math
import re

from gristmill.runtime.errors import InvalidRequest, cut

__all__ = ["FOREVER", "format_duration", "parse_duration", "parse_keep_alive"]

FOREVER = math.inf
_MAX_NS = 2**63 - 1
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_NUMBER = re.compile(r"([0-9]*)(?:\.([0-9]*))?", re.ASCII)
_UNIT = re.compile(r"[^0-9.]*", re.ASCII)
_MAX_CHARS = 256


def parse_duration(text: str) -> int:
    """Nanoseconds of a sequence of numbers with units, maybe signed; ``0`` needs no unit.

    Raises InvalidRequest with the texts of Go's ``time.ParseDuration``.
    """
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return 0
    if not rest or len(text) > _MAX_CHARS:
        raise _invalid(text)
    total_ns = 0
    position = 0
    while position < len(rest):
        n_ns, position = _one(text, rest, position)
        total_ns += n_ns
        if total_ns > _MAX_NS:
            raise _invalid(text)
    return -total_ns if text.startswith("-") else total_ns


def _one(text: str, rest: str, position: int) -> tuple[int, int]:
    """One number with its unit at ``position``: nanoseconds, and where the next begins."""
    number = _NUMBER.match(rest, position)
    assert number is not None, "it matches the empty text"
    whole, fraction = number[1], number[2] or ""
    if not whole and not fraction:
        raise _invalid(text)
    unit = _UNIT.match(rest, number.end())
    assert unit is not None, "it matches the empty text"
    if not unit[0]:
        raise InvalidRequest(f"time: missing unit in duration {cut(text)}")
    if unit[0] not in _UNIT_NS:
        raise InvalidRequest(f"time: unknown unit {cut(unit[0])} in duration {cut(text)}")
    scale = _UNIT_NS[unit[0]]
    return int(whole or 0) * scale + int(fraction or 0) * scale // 10 ** len(fraction), unit.end()


def _invalid(text: str) -> InvalidRequest:
    return InvalidRequest(f"time: invalid duration {cut(text)}")


def format_duration(ns: int) -> str:
    """Go's ``Duration.String``: ``1h30m0s``, ``1.5s``, ``300ms``, ``0s``."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        if ns < 1000 * _UNIT_NS[unit]:
            return sign + _decimal(ns, _UNIT_NS[unit]) + unit
    minutes, rest_ns = divmod(ns, _UNIT_NS["m"])
    hours, minutes = divmod(minutes, 60)
    prefix = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{prefix}{_decimal(rest_ns, _UNIT_NS['s'])}s"


def _decimal(ns: int, unit_ns: int) -> str:
    whole, rest = divmod(ns, unit_ns)
    digits = len(str(unit_ns)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".") if rest else str(whole)


def parse_keep_alive(value: object) -> float | None:
    """Seconds that a model stays loaded: a JSON value, a number of seconds or a duration. None: not given.

    Negative is ``FOREVER``, 0 unloads at once. Raises InvalidRequest with Ollama's texts.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        names = {bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}
        raise InvalidRequest(f"Unsupported type: '{names.get(type(value), type(value).__name__)}'")
    if isinstance(value, str):
        value = parse_duration(value) / 1e9
    if math.isnan(value):
        raise InvalidRequest("keep_alive is not a number")
    return FOREVER if value < 0 or value > _MAX_NS / 1e9 else float(value)
