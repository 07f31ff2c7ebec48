"""Which adapter the rows of one step have."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AdapterRows:
    """Ids of adapters, int32, below 0 for none. They may be fixed buffers that are refilled.

    ``tokens`` (n_tokens,): of each token of the step. ``outputs`` (n_outputs,): of those whose logits are wanted.
    """

    tokens: torch.Tensor
    outputs: torch.Tensor
