"""Operators that keep states of sequences, as calls of the native module."""

from __future__ import annotations

import torch

from ..layout import TokenLayout
from ..specs import DeltaSpec, StateSpace
from .recorder import Recorder
from .tensors import contiguous, row_stride

SHORT_CONV_ACTIVATIONS = ("", "silu")


class StateOperators:
    """See ``kernels.ops.Ops``. Rows of activations must be contiguous and may be apart."""

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self.native, self._handle = recorder.context.native, recorder.context.handle

    def short_conv(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        state: torch.Tensor,
        layout: TokenLayout,
        activation: str = "",
    ) -> torch.Tensor:
        (n, channels), at = x.shape, self.recorder.address
        out = self.recorder.empty(n, channels)
        self.native.short_conv(
            self._handle,
            self.recorder.program,
            n=n,
            channels=channels,
            width=weight.shape[0],
            x=at(x),
            x_stride=row_stride(x),
            weight=at(contiguous(weight)),
            bias=at(bias),
            state=at(contiguous(state)),
            silu=SHORT_CONV_ACTIVATIONS.index(activation),
            out=at(out),
            **self._sequences(layout),
        )
        return out

    def ssd_scan(
        self,
        x: torch.Tensor,
        dt: torch.Tensor,
        b: torch.Tensor,
        c: torch.Tensor,
        space: StateSpace,
        state: torch.Tensor,
        layout: TokenLayout,
    ) -> torch.Tensor:
        _, n_heads, d_state, head_dim = state.shape
        out, at = self.recorder.empty(x.shape[0], n_heads * head_dim), self.recorder.address
        self.native.ssd_scan(
            self._handle,
            self.recorder.program,
            n_heads=n_heads,
            head_dim=head_dim,
            n_groups=b.shape[1] // d_state,
            d_state=d_state,
            dt_bias=at(space.dt_bias),
            out=at(out),
            **self._scanned(x, dt, b, c, space, state),
            **self._sequences(layout),
        )
        return out

    def selective_scan(
        self,
        x: torch.Tensor,
        dt: torch.Tensor,
        b: torch.Tensor,
        c: torch.Tensor,
        space: StateSpace,
        state: torch.Tensor,
        layout: TokenLayout,
    ) -> torch.Tensor:
        _, d_state, channels = state.shape
        out, at = self.recorder.empty(x.shape[0], channels), self.recorder.address
        self.native.selective_scan(
            self._handle,
            self.recorder.program,
            channels=channels,
            d_state=d_state,
            out=at(out),
            **self._scanned(x, dt, b, c, space, state),
            **self._sequences(layout),
        )
        return out

    def delta_scan(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        decay: torch.Tensor,
        beta: torch.Tensor,
        state: torch.Tensor,
        layout: TokenLayout,
        spec: DeltaSpec,
    ) -> torch.Tensor:
        (n, n_heads, v_dim), at = v.shape, self.recorder.address
        out = self.recorder.empty(n, n_heads, v_dim)
        self.native.delta_scan(
            self._handle,
            self.recorder.program,
            n=n,
            **{name: at(x) for name, x in (("q", q), ("k", k), ("v", v), ("decay", decay), ("beta", beta))},
            q_stride=row_stride(q),
            k_stride=row_stride(k),
            v_stride=row_stride(v),
            decay_stride=row_stride(decay),
            beta_stride=row_stride(beta),
            decay_bias=at(contiguous(spec.decay_bias)),
            decay_scale=at(contiguous(spec.decay_scale)),
            state=at(contiguous(state)),
            out=at(out),
            eps=spec.eps,
            n_k_heads=k.shape[1],
            n_v_heads=n_heads,
            k_dim=k.shape[2],
            v_dim=v_dim,
            decay_dim=decay.shape[1] // n_heads,
            tiled=spec.tiled,
            **self._sequences(layout),
        )
        return out

    def _scanned(
        self,
        x: torch.Tensor,
        dt: torch.Tensor,
        b: torch.Tensor,
        c: torch.Tensor,
        space: StateSpace,
        state: torch.Tensor,
    ) -> dict[str, int]:
        at = self.recorder.address
        return {
            "x": at(x),
            "x_stride": row_stride(x),
            "dt": at(dt),
            "dt_stride": row_stride(dt),
            "b": at(b),
            "b_stride": row_stride(b),
            "c": at(c),
            "c_stride": row_stride(c),
            "a": at(contiguous(space.a)),
            "d": at(space.d),
            "state": at(contiguous(state)),
        }

    def _sequences(self, layout: TokenLayout) -> dict[str, int]:
        at = self.recorder.address
        return {
            "n_seqs": layout.state_reads.shape[0],
            "seq_starts": at(layout.seq_starts),
            "state_reads": at(layout.state_reads),
            "state_writes": at(layout.state_writes),
        }
