"""One forward pass's flat tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gristmill.kernels.layout import TokenLayout

from .lora.rows import AdapterRows
from .vision.rows import PictureRows


@dataclass(frozen=True)
class Batch:
    """All tokens of all sequences in a row. A prompt chunk and one decode token differ only in count.

    ``token_ids`` int64 (n_tokens,). ``output_rows`` int64 (n_outputs,): the tokens whose logits are wanted.
    ``adapters`` and ``pictures`` are None where no sequence has any; where pictures stand, token ids are 0.
    """

    token_ids: torch.Tensor
    output_rows: torch.Tensor
    layout: TokenLayout
    adapters: AdapterRows | None = None
    pictures: PictureRows | None = None
