"""The sizes of state-space layers, read from GGUF metadata. Mamba 1 and Mamba 2 give one key two meanings."""

from __future__ import annotations

from dataclasses import dataclass

from .config import Metadata

MAX_CONV_WIDTH = 16


@dataclass(frozen=True)
class MambaConfig:
    """``inner_size`` channels, each with ``state_size`` numbers. ``rank`` is the time steps' before their projection.

    ``plain_norms``: these, and what goes in and out of the states, are normalised without weights (Falcon Mamba).
    """

    inner_size: int
    conv_width: int
    state_size: int
    rank: int
    plain_norms: bool


@dataclass(frozen=True)
class Mamba2Config:
    """``n_heads`` heads of ``head_dim`` channels, ``inner_size`` in all; ``n_groups`` of them share B and C."""

    inner_size: int
    conv_width: int
    state_size: int
    n_heads: int
    n_groups: int

    @property
    def head_dim(self) -> int:
        return self.inner_size // self.n_heads

    @property
    def conv_size(self) -> int:
        """Channels of the convolution: x, B and C."""
        return self.inner_size + 2 * self.n_groups * self.state_size


def read_conv_width(meta: Metadata) -> int:
    return meta.count("ssm.conv_kernel", low=2, high=MAX_CONV_WIDTH)


def read_mamba_config(meta: Metadata) -> MambaConfig:
    return MambaConfig(
        inner_size=meta.count("ssm.inner_size"),
        conv_width=read_conv_width(meta),
        state_size=meta.count("ssm.state_size"),
        rank=meta.count("ssm.time_step_rank"),
        plain_norms=meta.flag("ssm.dt_b_c_rms", False),
    )


def read_mamba2_config(meta: Metadata) -> Mamba2Config:
    inner, n_heads = meta.count("ssm.inner_size"), meta.count("ssm.time_step_rank")
    n_groups = meta.count("ssm.group_count")
    if inner % n_heads:
        raise meta.refuse("ssm.time_step_rank", f"{n_heads} heads do not divide the inner size {inner}")
    if n_heads % n_groups:
        raise meta.refuse("ssm.group_count", f"{n_groups} does not divide {n_heads} heads")
    return Mamba2Config(
        inner_size=inner,
        conv_width=read_conv_width(meta),
        state_size=meta.count("ssm.state_size"),
        n_heads=n_heads,
        n_groups=n_groups,
    )
