"""The operators as calls of the native module: tensors become addresses, sizes and strides."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..dispatch import Weight
from ..kv import head_dim, kv_type
from ..layout import TokenLayout
from ..reference.pointwise import top_k
from ..specs import AttentionSpec, LayerNorm, Norm, Projection, Rotation, Routing
from .recorder import Recorder
from .tensors import contiguous, row_stride

KV_CODES = {"f32": 0, "f16": 1, "bf16": 2, "q8_0": 3, "q4_0": 4}  # KvType in native/args.h
ACTIVATIONS = {"silu": 1, "gelu": 2}  # Activation
GATINGS = {"softmax": 0, "sigmoid": 1, "softmax-of-chosen": 2}  # Gating
MAX_INSERTED = 512  # more than these are found faster by sorting than by insertion
POINT_OPS = {  # PointOp
    "add": 0,
    "mul": 1,
    "softcap": 2,
    "silu": 3,
    "gelu": 4,
    "gelu_erf": 5,
    "clamp": 6,
    "relu": 7,
    "relu_sqr": 8,
    "sigmoid": 9,
    "oai_swiglu": 10,
}


class CpuOperators:
    """See ``kernels.ops.Ops`` for what each operator does. Rows must be contiguous; rows may be apart."""

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self.native, self._handle = recorder.context.native, recorder.context.handle

    # -- products ----------------------------------------------------------------------------------------------

    def linear(
        self,
        x: torch.Tensor,
        w: Weight,
        bias: torch.Tensor | None = None,
        norm: Norm | None = None,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return self._products(x, (Projection(w, bias),), norm, residual=residual)[0]

    def linears(
        self, x: torch.Tensor, projections: Sequence[Projection], norm: Norm | None = None
    ) -> list[torch.Tensor]:
        return self._products(x, projections, norm)

    def gated_linear(
        self, x: torch.Tensor, gate: Projection, up: Projection, activation: str, norm: Norm | None = None
    ) -> torch.Tensor:
        return self._products(x, (gate, up), norm, activation=ACTIVATIONS[activation])[0]

    def _products(
        self,
        x: torch.Tensor,
        projections: Sequence[Projection],
        norm: Norm | None,
        *,
        residual: torch.Tensor | None = None,
        activation: int = 0,
    ) -> list[torch.Tensor]:
        at, n = self.recorder.address, x.shape[0]
        outs = [self.recorder.empty(n, p.weight.data.rows) for p in projections[: 1 if activation else None]]
        matrices = tuple(
            (at(p.weight.data.data), p.weight.data.kind, at(p.bias), at(out), out.shape[1], p.weight.data.rows)
            for p, out in zip(projections, outs if not activation else outs * 2, strict=True)
        )
        self.native.linear(
            self._handle,
            self.recorder.program,
            n=n,
            cols=x.shape[1],
            x=at(x),
            x_stride=row_stride(x),
            matrices=matrices,
            norm=at(norm.weight) if norm else 0,
            eps=norm.eps if norm else 0.0,
            residual=at(residual),
            residual_stride=0 if residual is None else row_stride(residual),
            activation=activation,
        )
        return outs

    def expert_linear(self, x: torch.Tensor, w: Weight, experts: torch.Tensor) -> torch.Tensor:
        return self._stack_linear(x, w, contiguous(experts), experts.shape[1])

    def head_linear(self, x: torch.Tensor, w: Weight) -> torch.Tensor:
        return self._stack_linear(x, w, None, w.shape[0])

    def _stack_linear(self, x: torch.Tensor, w: Weight, experts: torch.Tensor | None, slots: int) -> torch.Tensor:
        n, at = x.shape[0], self.recorder.address
        out = self.recorder.empty(n, slots, w.data.rows)
        x_stride, slot_stride = _head_strides(x)
        self.native.experts(
            self._handle,
            self.recorder.program,
            n=n * slots,
            x=at(x),
            x_stride=x_stride,
            slots=slots,
            slot_stride=slot_stride,
            experts=at(experts),
            n_experts=w.shape[0],
            data=at(w.data.data),
            kind=w.data.kind,
            rows=w.data.rows,
            cols=w.data.cols,
            out=at(out),
        )
        return out

    def embedding(self, ids: torch.Tensor, w: Weight) -> torch.Tensor:
        out, at = self.recorder.empty(ids.shape[0], w.data.cols), self.recorder.address
        self.native.embedding(
            self._handle,
            self.recorder.program,
            n=ids.shape[0],
            ids=at(ids),
            data=at(w.data.data),
            kind=w.data.kind,
            rows=w.data.rows,
            cols=w.data.cols,
            out=at(out),
        )
        return out

    # -- rows --------------------------------------------------------------------------------------------------

    def rms_norm(self, x: torch.Tensor, norm: Norm, residual: torch.Tensor | None = None) -> torch.Tensor:
        out, at = self.recorder.empty(*x.shape), self.recorder.address
        self.native.norm(
            self._handle,
            self.recorder.program,
            n=x.shape[0],
            cols=x.shape[1],
            x=at(x),
            x_stride=row_stride(x),
            weight=at(norm.weight),
            eps=norm.eps,
            out=at(out),
            residual=at(residual),
            residual_stride=0 if residual is None else row_stride(residual),
        )
        return out

    def layer_norm(self, x: torch.Tensor, norm: LayerNorm) -> torch.Tensor:
        out, at = self.recorder.empty(*x.shape), self.recorder.address
        self.native.layer_norm(
            self._handle,
            self.recorder.program,
            n=x.shape[0],
            cols=x.shape[1],
            x=at(x),
            x_stride=row_stride(x),
            weight=at(norm.weight),
            bias=at(norm.bias),
            eps=norm.eps,
            out=at(out),
        )
        return out

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._point("add", x, y)

    def scale(self, x: torch.Tensor, factor: float | torch.Tensor) -> torch.Tensor:
        if isinstance(factor, torch.Tensor):
            return self._point("mul", x, factor)
        return self._point("mul", x, None, factor)

    def softcap(self, x: torch.Tensor, cap: float) -> torch.Tensor:
        return self._point("softcap", x, None, cap)

    def clamp(self, x: torch.Tensor, limit: float) -> torch.Tensor:
        return self._point("clamp", x, None, limit)

    def gated(self, gate: torch.Tensor, up: torch.Tensor, activation: str) -> torch.Tensor:
        return self._point(activation, gate, up)

    def activate(self, x: torch.Tensor, activation: str) -> torch.Tensor:
        return self._point(activation, x, None, 1.0)

    def _point(self, op: str, x: torch.Tensor, y: torch.Tensor | None, factor: float = 0.0) -> torch.Tensor:
        """y is of x's shape, one row (d,), one number (1,), or one number for each row (..., 1)."""
        out, at = self.recorder.empty(*x.shape), self.recorder.address
        rows = _rows(x)
        y_rows = None if y is None else _rows(y) if y.dim() > 1 else y.reshape(1, -1)
        self.native.point(
            self._handle,
            self.recorder.program,
            op=POINT_OPS[op],
            n=rows.shape[0],
            cols=rows.shape[1],
            x=at(rows),
            x_stride=row_stride(rows),
            out=at(out),
            y=at(y_rows),
            y_stride=0 if y_rows is None or y_rows.shape[0] == 1 < rows.shape[0] else row_stride(y_rows),
            y_cols=0 if y_rows is None else y_rows.shape[1],
            factor=factor,
        )
        return out

    def gather(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        out, at = self.recorder.empty(rows.shape[0], x.shape[1]), self.recorder.address
        self.native.gather(
            self._handle,
            self.recorder.program,
            n=rows.shape[0],
            cols=x.shape[1],
            x=at(x),
            x_stride=row_stride(x),
            rows=at(rows),
            out=at(out),
        )
        return out

    def concat(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        (n, heads, y_cols), x_cols, at = y.shape, x.shape[2], self.recorder.address
        out = self.recorder.empty(n, heads, x_cols + y_cols)
        (x_stride, x_head), (y_stride, y_head) = _head_strides(x), _head_strides(y)
        self.native.concat(
            self._handle,
            self.recorder.program,
            n=n,
            heads=heads,
            x=at(x),
            x_stride=x_stride,
            x_head=x_head,
            x_cols=x_cols,
            y=at(y),
            y_stride=y_stride,
            y_head=y_head,
            y_cols=y_cols,
            out=at(out),
        )
        return out

    # -- positions and attention -------------------------------------------------------------------------------

    def rope_angles(
        self, positions: torch.Tensor, inv_freq: torch.Tensor, magnitude: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n, half, at = positions.shape[0], inv_freq.shape[0], self.recorder.address
        cos, sin = self.recorder.empty(n, half), self.recorder.empty(n, half)
        self.native.angles(
            self._handle,
            self.recorder.program,
            n=n,
            half=half,
            positions=at(positions),
            inv_freq=at(inv_freq),
            cos=at(cos),
            sin=at(sin),
            magnitude=magnitude,
        )
        return cos, sin

    def rope_store(
        self,
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
        (n, n_heads, k_dim), at = q.shape, self.recorder.address
        out = self.recorder.empty(n, n_heads, k_dim)
        v_stride, v_head = _head_strides(v)
        self.native.rope_store(
            self._handle,
            self.recorder.program,
            n=n,
            q=at(q),
            q_stride=row_stride(q),
            k=at(k),
            k_stride=row_stride(k),
            v=at(v),
            v_stride=v_stride,
            v_head=v_head,
            cos=at(rotation.cos),
            sin=at(rotation.sin),
            half=rotation.cos.shape[1],
            interleaved=rotation.interleaved,
            slots=at(layout.slots),
            k_cache=at(k_cache),
            v_cache=at(v_cache),
            k_page=_page_bytes(k_cache),
            v_page=_page_bytes(v_cache),
            kv_type=KV_CODES[kv_type(k_cache).name],
            q_out=at(out),
            n_heads=n_heads,
            n_kv_heads=k.shape[1],
            k_dim=k_dim,
            v_dim=v.shape[2],
            q_norm=at(norms[0].weight) if norms else 0,
            k_norm=at(norms[1].weight) if norms else 0,
            eps=norms[0].eps if norms else 0.0,
            norm_last=norm_last and norms is not None,
        )
        return out

    def attention(
        self,
        q: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        layout: TokenLayout,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        (n, n_heads, k_dim), v_dim, at = q.shape, spec.shared_values or head_dim(v_cache), self.recorder.address
        out = self.recorder.empty(n, n_heads, v_dim)
        self.native.attention(
            self._handle,
            self.recorder.program,
            n=n,
            q=at(q),
            k_cache=at(k_cache),
            v_cache=at(v_cache),
            k_page=_page_bytes(k_cache),
            v_page=_page_bytes(v_cache),
            kv_type=KV_CODES[kv_type(k_cache).name],
            seq_starts=at(layout.seq_starts),
            page_table=at(layout.page_table),
            context_lens=at(layout.context_lens),
            n_seqs=layout.context_lens.shape[0],
            max_pages=layout.page_table.shape[1],
            n_heads=n_heads,
            n_kv_heads=k_cache.shape[2],
            k_dim=k_dim,
            v_dim=v_dim,
            scale=spec.scale,
            window=spec.window,
            softcap=spec.softcap,
            causal=spec.causal,
            chunk=spec.chunk,
            shared=spec.shared_values > 0,
            slopes=at(spec.slopes),
            sinks=at(spec.sinks),
            out=at(out),
        )
        return out

    # -- experts -----------------------------------------------------------------------------------------------

    def route(
        self, logits: torch.Tensor, routing: Routing, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n, n_used, at = logits.shape[0], routing.n_used, self.recorder.address
        weights, experts = self.recorder.empty(n, n_used), self.recorder.empty(n, n_used, dtype=torch.int64)
        self.native.route(
            self._handle,
            self.recorder.program,
            n=n,
            logits=at(logits),
            logits_stride=row_stride(logits),
            bias=at(bias),
            n_experts=logits.shape[1],
            n_used=n_used,
            gating=GATINGS[routing.gating],
            normalize=routing.normalize,
            n_groups=routing.n_groups,
            n_groups_used=routing.n_groups_used,
            scale=routing.scale,
            weights=at(weights),
            experts=at(experts),
        )
        return weights, experts

    def combine(self, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        (n, n_used, cols), at = y.shape, self.recorder.address
        out = self.recorder.empty(n, cols)
        self.native.combine(
            self._handle,
            self.recorder.program,
            n=n,
            n_used=n_used,
            cols=cols,
            y=at(y),
            weights=at(weights),
            out=at(out),
        )
        return out

    # -- sampling ----------------------------------------------------------------------------------------------

    def top_k(self, x: torch.Tensor, k: int, bits: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        if k > MAX_INSERTED:
            return top_k(x if bits is None else self.masked(x, bits), k)
        values, ids, at = self.recorder.empty(k), self.recorder.empty(k, dtype=torch.int64), self.recorder.address
        self.native.top_k(
            self._handle,
            self.recorder.program,
            n=x.shape[0],
            k=k,
            x=at(contiguous(x)),
            bits=0 if bits is None else at(contiguous(bits)),
            values=at(values),
            ids=at(ids),
        )
        return values, ids

    def masked(self, x: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        out, at = self.recorder.empty(x.shape[0]), self.recorder.address
        self.native.masked(
            self._handle,
            self.recorder.program,
            n=x.shape[0],
            x=at(contiguous(x)),
            bits=at(contiguous(bits)),
            out=at(out),
        )
        return out


def _head_strides(x: torch.Tensor) -> tuple[int, int]:
    """Of x (n, heads, d): elements from one token to the next, and from one head to the next, 0 where there is one
    that stands for all. What a head holds lies together."""
    assert x.shape[2] < 2 or x.stride(2) == 1, "heads must be contiguous"
    return x.stride(0), x.stride(1) if x.shape[1] > 1 else 0


def _page_bytes(cache: torch.Tensor) -> int:
    """From one page to the next; what a page holds lies together."""
    assert cache.shape[1] == 16, "a page is one vector of keys"
    assert cache[0].is_contiguous(), "pages must be contiguous"
    return cache.stride(0) * cache.element_size()


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(..., d) as (n, d)."""
    return x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
