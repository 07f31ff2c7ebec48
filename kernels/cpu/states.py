"""Operators that keep states of sequences, as calls of the native module."""

from __future__ import annotations

import torch

from ..layout import TokenLayout
from .recorder import Recorder

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
            x_stride=x.stride(0),
            weight=at(_contiguous(weight)),
            bias=at(bias),
            state=at(_contiguous(state)),
            silu=SHORT_CONV_ACTIVATIONS.index(activation),
            out=at(out),
            **self._sequences(layout),
        )
        return out

    def _sequences(self, layout: TokenLayout) -> dict[str, int]:
        at = self.recorder.address
        return {
            "n_seqs": layout.state_reads.shape[0],
            "seq_starts": at(layout.seq_starts),
            "state_reads": at(layout.state_reads),
            "state_writes": at(layout.state_writes),
        }


def _contiguous(x: torch.Tensor) -> torch.Tensor:
    assert x.is_contiguous(), "a copy could not be recorded"
    return x
