"""Errors of registries and the way to them. They belong into the tree of ``gristmill.runtime.errors``:

GristmillError
└── RegistryError        not to be had; the text has no token and no query of an address
    ├── Transient        may go better next time
    │   ├── Unreachable  nobody answers at the address
    │   └── Stalled      nothing came for a while
    ├── Refused          the registry said no: ``status``
    ├── RedirectRefused  the registry sent us where we do not go
    ├── RangesIgnored    whole blobs only
    └── Changed          not the blob that it was before
"""

from __future__ import annotations

from typing import Any

from gristmill.runtime.errors import GristmillError

__all__ = [
    "Changed",
    "RangesIgnored",
    "RedirectRefused",
    "Refused",
    "RegistryError",
    "Stalled",
    "Transient",
    "Unreachable",
    "first_error",
]


class RegistryError(GristmillError):
    """A registry does not do what we need of it."""


class Transient(RegistryError):
    """Worth another try, after ``retry_after_s`` where the registry named a time."""

    def __init__(self, text: str, retry_after_s: float | None = None):
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Unreachable(Transient):
    """No connection came about."""


class Stalled(Transient):
    """A connection on which nothing came for too long."""


class Refused(RegistryError):
    """An answer with a status of 400 or above. ``detail`` is what it said: the status and perhaps a text."""

    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status = status


class RedirectRefused(RegistryError):
    """A redirect that we do not follow."""


class RangesIgnored(RegistryError):
    """A part of a blob was asked for, all of it came."""


class Changed(RegistryError):
    """The registry has no such range, or names another size or version than before."""


def first_error(group: BaseExceptionGroup[Any]) -> BaseException:
    """One error of those that came together: ours before any other."""
    leaves = list(_leaves(group))
    return next((error for error in leaves if isinstance(error, GristmillError)), leaves[0])


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
