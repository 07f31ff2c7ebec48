"""Paged attention with an online softmax (Milakov and Gimelshein, arXiv:1805.02867; FlashAttention).

Keys are taken in blocks of ``KEY_BLOCK`` that start at absolute positions, and queries are padded to
``ROW_TILE`` rows, so the products of one query row have the same shapes and order however its prompt was cut into
chunks and whatever else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..kv import head_dim
from ..layout import TokenLayout
from ..specs import AttentionSpec, Norm, Rotation
from .cache import from_cache, to_cache
from .linear import ROW_TILE
from .pointwise import rms_norm
from .rope import rope

KEY_BLOCK = 256
_LOWEST = -1e30  # a running maximum before any key was seen; finite, so that differences stay numbers


def rope_store(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    rotation: Rotation,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    layout: TokenLayout,
    norms: tuple[Norm, Norm] | None = None,
    norm_last: bool = False,
) -> torch.Tensor:
    if norms is not None and not norm_last:
        q, k = rms_norm(q, norms[0]), rms_norm(k, norms[1])
    q, k = rope(q, rotation), rope(k, rotation)
    if norms is not None and norm_last:
        q, k = rms_norm(q, norms[0]), rms_norm(k, norms[1])
    for cache, rows in ((k_cache, k), (v_cache, v)):
        if rows.shape[-1]:
            cache[layout.slots // layout.page_size, layout.slots % layout.page_size] = to_cache(rows, cache)
    return q


def attention(
    q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, layout: TokenLayout, spec: AttentionSpec
) -> torch.Tensor:
    n_kv_heads, n_heads = k_cache.shape[2], q.shape[1]
    out = q.new_empty(q.shape[0], n_heads, spec.shared_values or head_dim(v_cache))
    starts, lengths = layout.seq_starts.tolist(), layout.context_lens.tolist()
    for i, length in enumerate(lengths):
        n_rows = starts[i + 1] - starts[i]
        queries = _by_kv_head(q[starts[i] : starts[i + 1]], n_kv_heads)
        pages = Pages(k_cache, v_cache, layout.page_table[i], layout.page_size, length, spec.shared_values)
        heads = _attend(queries, pages, n_rows, spec).reshape(n_kv_heads, _padded(n_rows), n_heads // n_kv_heads, -1)
        out[starts[i] : starts[i + 1]] = heads[:, :n_rows].transpose(0, 1).flatten(1, 2)
    return out


def _padded(n_rows: int) -> int:
    return n_rows + -n_rows % ROW_TILE


def _by_kv_head(q: torch.Tensor, n_kv_heads: int) -> torch.Tensor:
    """(n, n_heads, d) -> (n_kv_heads, padded n * n_rep, d): rows in token order, heads of a group together."""
    n, n_heads, d = q.shape
    grouped = q.reshape(n, n_kv_heads, n_heads // n_kv_heads, d).transpose(0, 1)
    grouped = functional.pad(grouped, (0, 0, 0, 0, 0, _padded(n) - n))
    return grouped.reshape(n_kv_heads, -1, d)


def _attend(q: torch.Tensor, pages: Pages, n_rows: int, spec: AttentionSpec) -> torch.Tensor:
    """q (n_kv_heads, padded rows * n_rep, k_dim) over the sequence's keys -> (n_kv_heads, ..., v_dim)."""
    first = pages.length - n_rows  # position of the first query
    n_rep = q.shape[1] // _padded(n_rows)
    positions = torch.arange(first, first + _padded(n_rows), device=q.device).repeat_interleave(n_rep)[:, None]
    best = q.new_full((*q.shape[:2], 1), _LOWEST)
    total = q.new_zeros((*q.shape[:2], 1))
    if spec.sinks is not None:
        best, total = _by_row(spec.sinks, q), total + 1
    out = q.new_zeros((*q.shape[:2], pages.value_dim))
    start = _first_key(first, spec) // KEY_BLOCK * KEY_BLOCK
    for block in range(start, pages.length, KEY_BLOCK):
        keys = pages.block(pages.k_cache, block)
        scores = _scores(q, keys, positions, block, pages.length, spec)
        higher = torch.maximum(best, scores.amax(dim=-1, keepdim=True))
        p = torch.exp(scores - higher)
        fade = torch.exp(best - higher)
        total = total * fade + p.sum(dim=-1, keepdim=True)
        out = out * fade + torch.bmm(p, pages.values(keys, block))
        best = higher
    return out / total


def _by_row(per_head: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(n_heads,) -> (n_kv_heads, rows, 1): rows are tokens, then heads of a group."""
    grouped = per_head.reshape(q.shape[0], 1, -1)
    return grouped.expand(-1, q.shape[1] // grouped.shape[2], -1).reshape(*q.shape[:2], 1)


def _first_key(position: int, spec: AttentionSpec) -> int:
    if spec.chunk:
        return position // spec.chunk * spec.chunk
    return max(0, position - _seen_before(spec)) if spec.window else 0


def _seen_before(spec: AttentionSpec) -> int:
    """How many keys a query sees before its own, where there is a window."""
    return spec.window - 1 if spec.causal else spec.window // 2


def _scores(
    q: torch.Tensor, keys: torch.Tensor, positions: torch.Tensor, block: int, length: int, spec: AttentionSpec
) -> torch.Tensor:
    scores = torch.bmm(q, keys.transpose(1, 2)) * spec.scale
    if spec.softcap:
        scores = torch.tanh(scores / spec.softcap) * spec.softcap
    key_positions = torch.arange(block, block + KEY_BLOCK, device=q.device)[None, :]
    if spec.slopes is not None:
        scores = scores - _by_row(spec.slopes, q) * (key_positions - positions).abs()
    if spec.causal:
        hidden = key_positions > positions
    else:
        hidden = key_positions >= length
        hidden = hidden | (key_positions > positions + spec.window // 2) if spec.window else hidden
    if spec.window:
        hidden = hidden | (key_positions < positions - _seen_before(spec))
    if spec.chunk:
        hidden = hidden | (key_positions < positions // spec.chunk * spec.chunk)
    return scores.masked_fill(hidden, float("-inf"))


@dataclass(frozen=True)
class Pages:
    """One sequence's part of the cache: ``length`` tokens in the pages ``table`` names."""

    k_cache: torch.Tensor
    v_cache: torch.Tensor
    table: torch.Tensor
    page_size: int
    length: int
    shared_values: int

    @property
    def value_dim(self) -> int:
        return self.shared_values or head_dim(self.v_cache)

    def values(self, keys: torch.Tensor, start: int) -> torch.Tensor:
        """``block`` of the values, which the block of ``keys`` may hold."""
        if self.shared_values:
            return keys[..., -self.shared_values :].contiguous()
        return self.block(self.v_cache, start)

    def block(self, cache: torch.Tensor, start: int) -> torch.Tensor:
        """Rows ``start`` to ``start + KEY_BLOCK`` of ``cache``: float32 (n_kv_heads, KEY_BLOCK, d).

        Past the length they are zero: what another sequence left there must not meet a weight of zero as NaN.
        """
        stop = min(self.length, start + KEY_BLOCK)
        used = self.table[start // self.page_size : -(-stop // self.page_size)]
        rows = from_cache(cache.index_select(0, used).flatten(0, 1)[: stop - start])
        block = rows.new_zeros((KEY_BLOCK, *rows.shape[1:]), dtype=torch.float32)
        block[: stop - start] = rows
        return block.transpose(0, 1).contiguous()
