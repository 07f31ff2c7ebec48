"""The manifests folder: ``<host>/<namespace>/<model>/<tag>``, one small file for each model.

Names are looked up without regard to case and keep the spelling they were stored with. Entries that are no regular
files four folders deep are never opened. Knows nothing of what manifests say; callers serialise the writers.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gristmill.runtime.errors import InvalidRequest, cut, is_shortage

from .errors import store_error
from .files import TEMPORARY_PREFIX, PendingFile, make_folders, read_regular, sync_folder
from .names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, Name

__all__ = ["ManifestFolder", "Scan"]

MAX_MANIFEST_BYTES = 4 << 20
_LEVELS = 4
_DEFAULTS = (DEFAULT_HOST, DEFAULT_NAMESPACE, "", DEFAULT_TAG)
_log = logging.getLogger(__name__)


@dataclass
class Scan:
    """All names of the folder. Not ``is_complete``: something there might be a manifest and could not be looked at."""

    names: list[Name] = field(default_factory=list)
    is_complete: bool = True


class ManifestFolder:
    """Methods raise OSError where nothing else is said."""

    def __init__(self, path: Path):
        self.path = path
        self._warned: set[str] = set()

    def file(self, name: Name) -> Path:
        return self.path.joinpath(*name.parts)

    def resolve(self, name: Name) -> Name:
        """``name`` with every part spelled as it is stored, or, where a part is new, as given. Raises StoreError."""
        folder, parts = str(self.path), []
        for part, default in zip(name.parts, _DEFAULTS, strict=True):
            stored = _stored_spelling(folder, part)
            parts.append(stored or (default if part.lower() == default else part))
            folder = os.path.join(folder, parts[-1])
        return Name(*parts)

    def stat(self, name: Name) -> os.stat_result:
        """Raises FileNotFoundError for whatever is not a regular file."""
        try:
            info = os.stat(os.path.join(self.path, *name.parts), follow_symlinks=False)
        except NotADirectoryError as error:
            raise FileNotFoundError(error.errno, error.strerror) from None
        if not stat.S_ISREG(info.st_mode):
            raise FileNotFoundError("not a regular file")
        return info

    def read(self, name: Name) -> bytes:
        return read_regular(self.file(name), MAX_MANIFEST_BYTES)

    def publish(self, name: Name, data: bytes) -> None:
        """Write or replace a manifest: whoever looks sees the complete old or the complete new one."""
        target = self.file(name)
        make_folders(target.parent)
        with PendingFile(target.parent) as file:
            file.write(data)
            file.publish(target.name)

    def remove(self, name: Name) -> None:
        """Remove a manifest and the folders that are empty then."""
        path = self.file(name)
        path.unlink()
        sync_folder(path.parent)
        for folder in list(path.parents)[: _LEVELS - 1]:
            try:
                folder.rmdir()
            except OSError:
                return

    def remove_empty_folders(self) -> None:
        """Best effort."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            if Path(folder) != self.path:
                with suppress(OSError):
                    os.rmdir(folder)

    def scan(self) -> Scan:
        """What cannot be read is left out, with one warning in the life of this object.

        Raises StoreBusy rather than to leave something out for a shortage that passes.
        """
        found = Scan()
        self._scan(self.path, (), found)
        return found

    def temporaries(self) -> Iterator[Path]:
        """Files that were never published."""
        for folder, _, files in os.walk(self.path):
            yield from (Path(folder, name) for name in files if name.startswith(TEMPORARY_PREFIX))

    def _scan(self, folder: Path, parts: tuple[str, ...], found: Scan) -> None:
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError as error:
            if folder == self.path and isinstance(error, FileNotFoundError):
                return None  # a new store
            _raise_if_shortage(error)
            found.is_complete = False
            return self.warn_once(folder, error.strerror or "cannot be read")
        for entry in entries:
            if not entry.name.startswith(TEMPORARY_PREFIX):
                self._scan_entry(entry, (*parts, entry.name), found)
        return None

    def _scan_entry(self, entry: os.DirEntry[str], parts: tuple[str, ...], found: Scan) -> None:
        is_leaf = len(parts) == _LEVELS
        if not is_leaf and entry.is_dir(follow_symlinks=False):
            return self._scan(Path(entry.path), parts, found)
        if not is_leaf and entry.is_file(follow_symlinks=False):
            return self.warn_once(Path(entry.path), "lies outside of the four levels of folders")
        if not is_leaf or not entry.is_file(follow_symlinks=False):
            found.is_complete = False  # a link, say, to where manifests really are
            return self.warn_once(Path(entry.path), "is neither a file nor a folder at its level")
        try:
            found.names.append(Name(*parts))
        except InvalidRequest:
            self.warn_once(Path(entry.path), "has no valid model name")
        return None

    def warn_once(self, path: Path, reason: str) -> None:
        """Log that an entry is ignored; a listing every second must not fill the log."""
        text = os.path.relpath(path, self.path)
        if text not in self._warned:
            self._warned.add(text)
            _log.warning("manifest %s ignored: %s", cut(text, 200), reason)


def _stored_spelling(folder: str, part: str) -> str | None:
    """The entry that equals ``part``, else the first that does so but for case."""
    if os.path.lexists(os.path.join(folder, part)):
        return part
    try:
        with os.scandir(folder) as entries:
            same = [e.name for e in entries if e.name.isascii() and e.name.lower() == part.lower()]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a name that only seems new would get a second manifest
        raise store_error("read from the model store", error) from error
    return min(same, default=None)


def _raise_if_shortage(error: OSError) -> None:
    if is_shortage(error):
        raise store_error("read from the model store", error) from error
