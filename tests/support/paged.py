"""Sequences in a paged cache, for tests of attention."""

import math

import torch

from gristmill.kernels.kv import KV_TYPES
from gristmill.kernels.layout import TokenLayout
from gristmill.kernels.specs import Rotation

PAGE = 16


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _int32(values):
    return torch.tensor(values, dtype=torch.int32)


class Paged:
    """Sequences of given lengths with random pages, and a plain computation of what attention must give.

    With ``shared_values``, values are the last so many elements of the keys and the cache holds no others.
    """

    def __init__(self, ops, lengths, new, *, n_heads=6, n_kv_heads=2, dim=32, kv_type="f32", shared_values=0):
        n_pages = sum(-(-n // PAGE) for n in lengths)
        order = torch.randperm(n_pages, generator=torch.Generator().manual_seed(7)).tolist()
        self.keys = [rand(n, n_kv_heads, dim, seed=10 + i) for i, n in enumerate(lengths)]
        self.values = [rand(n, n_kv_heads, dim, seed=50 + i) for i, n in enumerate(lengths)]
        stored = self.values
        if shared_values:
            self.values = [keys[..., -shared_values:] for keys in self.keys]
            stored = [keys[..., :0] for keys in self.keys]
        self.q = [rand(n, n_heads, dim, seed=90 + i) for i, n in enumerate(new)]
        kind = KV_TYPES[kv_type]
        shapes = [(PAGE, n_kv_heads, kind.width(d)) for d in (dim, stored[0].shape[2])]
        n_bytes = math.prod(shapes[0]) * kind.dtype.itemsize
        # 255 in every byte is NaN in all float types: what nobody has written must not matter. Pages are apart, as in
        # a cache of several layers.
        region = torch.full((n_pages, 2 * n_bytes + 64), 255, dtype=torch.uint8)
        self.k_cache, self.v_cache = (
            region[:, start : start + math.prod(shape) * kind.dtype.itemsize].view(kind.dtype).view(n_pages, *shape)
            for start, shape in zip((0, n_bytes), shapes, strict=True)
        )
        table = torch.zeros(len(lengths), max(-(-n // PAGE) for n in lengths) + 2, dtype=torch.int32)
        for i, n in enumerate(lengths):
            pages = [order.pop() for _ in range(-(-n // PAGE))]
            table[i, : len(pages)] = torch.tensor(pages)
            slots = torch.tensor([pages[p // PAGE] * PAGE + p % PAGE for p in range(n)])
            layout = TokenLayout(torch.arange(n), slots, _int32([0, n]), table, _int32([n]), PAGE)
            still = Rotation(torch.ones(n, dim // 2), torch.zeros(n, dim // 2), False)
            q = torch.zeros(n, n_heads, dim)
            ops.rope_store(q, self.keys[i], stored[i], still, self.k_cache, self.v_cache, layout)
        starts = _int32([0, *torch.tensor(new).cumsum(0).tolist()])
        unused = torch.zeros(1, dtype=torch.int64)
        self.layout = TokenLayout(unused, unused, starts, table, _int32(lengths), PAGE)

    def plain(self, i, spec):
        q, k, v = self.q[i].double(), self.keys[i].double(), self.values[i].double()
        n_rep = q.shape[1] // k.shape[1]
        scores = torch.einsum("qhd,khd->hqk", q, k.repeat_interleave(n_rep, 1)) * spec.scale
        if spec.softcap:
            scores = torch.tanh(scores / spec.softcap) * spec.softcap
        at = torch.arange(len(k) - len(q), len(k))[:, None]
        keys_at = torch.arange(len(k))[None, :]
        seen = keys_at <= at if spec.causal else torch.ones(len(q), len(k), dtype=torch.bool)
        if spec.window:
            seen &= keys_at > at - spec.window if spec.causal else (keys_at - at).abs() <= spec.window // 2
        if spec.chunk:
            seen &= keys_at >= at // spec.chunk * spec.chunk
        if spec.slopes is not None:
            scores = scores - spec.slopes[:, None, None] * (keys_at - at).abs()
        scores = scores.masked_fill(~seen, float("-inf"))
        if spec.sinks is not None:  # a key more, without a value
            sink = spec.sinks.double()[:, None, None].expand(-1, len(q), 1)
            scores, v = torch.cat((scores, sink), -1), torch.cat((v, torch.zeros_like(v[:1])))
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v.repeat_interleave(n_rep, 1)).float()
