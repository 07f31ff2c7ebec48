"""How much of everything a registry gets from us. Tests use smaller figures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds.

    ``attempts`` are those of one part or document without ``renewal_bytes`` of progress between them; ``stall_s`` is
    how long nothing may come, ``document_s`` how long a manifest or a token may take, ``commit_s`` how long a registry
    may check an upload. What has come is noted every ``checkpoint_s``, or ``checkpoint_bytes``. A blob's parts come
    one by one at first, with one more beside them every ``ramp_s`` up to ``n_parts``, and a push has ``n_uploads``.
    """

    n_parts: int = 16
    n_uploads: int = 4
    min_part_bytes: int = 100_000_000
    max_part_bytes: int = 1_000_000_000
    ramp_s: float = 0.25
    attempts: int = 6
    renewal_bytes: int = 1 << 20
    pause_s: float = 1.0
    max_pause_s: float = 32.0
    max_retry_after_s: float = 60.0
    stall_s: float = 30.0
    document_s: float = 120.0
    commit_s: float = 900.0
    n_redirects: int = 10
    manifest_bytes: int = 4 << 20
    config_bytes: int = 4 << 20
    token_bytes: int = 1 << 20
    error_bytes: int = 64 << 10
    write_bytes: int = 1 << 20
    write_s: float = 1.0
    checkpoint_s: float = 5.0
    checkpoint_bytes: int = 128 << 20
    progress_s: float = 0.06
    lock_poll_s: float = 0.2
