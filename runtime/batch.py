"""One forward pass's flat tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gristmill.kernels.layout import TokenLayout

from .lora.rows import AdapterRows


@dataclass(frozen=True)
class Batch:
    """All tokens of all sequences in a row. A prompt chunk and one decode token differ only in count.

    ``token_ids`` int64 (n_tokens,). ``output_rows`` int64 (n_outputs,): the tokens whose logits are wanted.
    ``adapters`` is None where no sequence has one.
    """

    token_ids: torch.Tensor
    output_rows: torch.Tensor
    layout: TokenLayout
    adapters: AdapterRows | None = None
