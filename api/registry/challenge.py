"""``WWW-Authenticate``: what a registry wants before it answers (RFC 9110, 11.6.1; RFC 6750, 3). Knows no requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Challenge", "bearer_challenge", "parse_challenges"]

MAX_CHARS = 8192
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP = re.compile(r"[ \t,]*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[ \t,]|$)')
# With the one value that schemes other than ours may have instead of parameters.
_SCHEME = re.compile(rf"({_TOKEN})(?: +[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$)))?(?=[ \t,]|$)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Challenge:
    """``scheme`` and the names of ``parameters`` are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def bearer_challenge(headers: Iterable[str]) -> Challenge | None:
    """The one that asks for a token, or None. Raises ValueError for headers that say nothing clear."""
    found = [c for header in headers for c in parse_challenges(header) if c.scheme == "bearer"]
    if any(challenge != found[0] for challenge in found):
        raise ValueError("several different ones")
    return found[0] if found else None


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of one header. Raises ValueError for what is none, and for parameters that come twice."""
    if len(header) > MAX_CHARS or not header.isprintable():
        raise ValueError("too long, or not text")
    found: list[tuple[str, dict[str, str]]] = []
    position = _skip(header, 0)
    while position < len(header):
        if found and (match := _PARAMETER.match(header, position)):
            name = match[1].lower()
            if name in found[-1][1]:
                raise ValueError(f"{name} comes twice")
            found[-1][1][name] = match[3] if match[2] is None else _ESCAPED.sub(r"\1", match[2])
        elif match := _SCHEME.match(header, position):
            found.append((match[1].lower(), {}))
        else:
            raise ValueError("neither a scheme nor a parameter")
        position = _skip(header, match.end())
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _skip(text: str, position: int) -> int:
    gap = _GAP.match(text, position)
    return gap.end() if gap else position
