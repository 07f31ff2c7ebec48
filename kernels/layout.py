"""Where the tokens of one step sit: which sequence, which position, which slot of the paged KV cache."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


def _no_rows() -> torch.Tensor:
    return torch.empty(0, dtype=torch.int32)


@dataclass(frozen=True)
class TokenLayout:
    """The flat tokens of a step, sequence after sequence. Its tensors may be fixed buffers that are refilled.

    ``positions`` int64 (n_tokens,): position of each token in its sequence.
    ``slots`` int64 (n_tokens,): the row of the KV cache each token writes, ``page * page_size + offset``.
    ``seq_starts`` int32 (n_seqs + 1,): tokens of sequence i are ``seq_starts[i]:seq_starts[i + 1]``.
    ``page_table`` int32 (n_seqs, max_pages): pages of each sequence in order; entries past its length are unused.
    ``context_lens`` int32 (n_seqs,): tokens of each sequence once this step is done.
    ``state_reads`` int32 (n_seqs,): the row of a state tensor that each sequence goes on from; below 0: from zeros.
    ``state_writes`` int32 (n_seqs,): the row that its state after this step goes to. No other sequence of the step
    reads or writes it; the sequence itself may read it. Both may be empty where no layer has states.
    """

    positions: torch.Tensor
    slots: torch.Tensor
    seq_starts: torch.Tensor
    page_table: torch.Tensor
    context_lens: torch.Tensor
    page_size: int
    state_reads: torch.Tensor = field(default_factory=_no_rows)
    state_writes: torch.Tensor = field(default_factory=_no_rows)
