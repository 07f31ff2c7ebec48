"""Feed-forward layers with experts (Shazeer et al., arXiv:1701.06538; Fedus et al., arXiv:2101.03961)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from gristmill.kernels.specs import Norm

from ..config import DecoderConfig
from ..weights import Weights
from .linear import ExpertLinear, Linear
from .mlp import GatedMlp


class Experts:
    """``ffn_gate_exps``, ``ffn_up_exps`` (or both in one, ``ffn_gate_up_exps``, the gate's rows first) and
    ``ffn_down_exps``: activation(gate(x)) * up(x), then down, each for the experts of its token.

    ``weighs_input``: it is x, not the result, that is multiplied by an expert's share.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        activation: str,
        *,
        scaled: bool = True,
        weighs_input: bool = False,
    ):
        self.weighs_input = weighs_input
        assert config.moe is not None
        self.ops, self.activation = weights.ops, activation
        prefix, hidden, ffn, n = f"blk.{layer}.ffn_", config.hidden_size, config.moe.ffn_size, config.moe.n_experts
        self.ffn_size = ffn
        self.both: ExpertLinear | None = None
        if f"{prefix}gate_up_exps.weight" in weights:
            self.both = ExpertLinear(weights, f"{prefix}gate_up_exps", n, 2 * ffn, hidden, scaled=scaled)
        else:
            self.gate = ExpertLinear(weights, f"{prefix}gate_exps", n, ffn, hidden, scaled=scaled)
            self.up = ExpertLinear(weights, f"{prefix}up_exps", n, ffn, hidden, scaled=scaled)
        self.down = ExpertLinear(weights, f"{prefix}down_exps", n, hidden, ffn, scaled=scaled)

    def __call__(self, x: torch.Tensor, experts: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """x (n, hidden), experts int64 (n, k), their shares (n, k) -> (n, hidden)."""
        rows = x[:, None, :]
        if self.both is not None:
            both = self._weighed(self.both(rows, experts), shares).flatten(0, 1)
            inner = self.ops.gated(both[:, : self.ffn_size], both[:, self.ffn_size :], self.activation)
            inner = inner.reshape(*experts.shape, self.ffn_size)
        else:
            gate, up = (self._weighed(linear(rows, experts), shares) for linear in (self.gate, self.up))
            inner = self.ops.gated(gate, up, self.activation)
        if self.weighs_input:
            shares = torch.ones_like(shares)
        return self.ops.combine(self.down(inner, experts), shares)

    def _weighed(self, y: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Products without a bias: scaling what comes out is the same as scaling what goes in."""
        return self.ops.scale(y, shares[..., None]) if self.weighs_input else y


class MoeMlp:
    """A linear router ``ffn_gate_inp`` (plus ``exp_probs_b`` where experts are chosen), its experts, and what all
    tokens share: ``ffn_*_shexp``, with ``ffn_gate_inp_shexp`` behind a gate of its own (arXiv:2401.06066).

    ``routing``: fields that are other than the file says. ``scaled``: as in ``GatedMlp``, of the experts.
    ``weighs_input``: see ``Experts``.
    """

    def __init__(
        self,
        weights: Weights,
        config: DecoderConfig,
        layer: int,
        activation: str = "silu",
        *,
        scaled: bool = False,
        weighs_input: bool = False,
        **routing: Any,
    ):
        assert config.moe is not None
        self.ops, moe, prefix, hidden = weights.ops, config.moe, f"blk.{layer}.", config.hidden_size
        self.routing = replace(moe.routing, **routing)
        self.router = Linear(weights, f"{prefix}ffn_gate_inp", moe.n_experts, hidden)
        self.bias = weights.optional_vector(f"{prefix}exp_probs_b.bias", moe.n_experts)
        self.experts = Experts(weights, config, layer, activation, scaled=scaled, weighs_input=weighs_input)
        self.shared: GatedMlp | None = None
        self.shared_gate = None
        if f"{prefix}ffn_up_shexp.weight" in weights:
            size = {"suffix": "_shexp", "ffn_size": moe.shared_size}
            self.shared = GatedMlp(weights, config, layer, activation, scaled=scaled, **size)  # type: ignore[arg-type]
            if f"{prefix}ffn_gate_inp_shexp.weight" in weights:
                self.shared_gate = weights.matrix(f"{prefix}ffn_gate_inp_shexp.weight", 1, hidden)

    def __call__(
        self,
        x: torch.Tensor,
        norm: Norm | None,
        residual: torch.Tensor | None = None,
        chosen: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """``chosen``: what ``route`` gave for other rows than x."""
        x = x if norm is None else self.ops.rms_norm(x, norm)
        y = self.experts(x, *(chosen or self.route(x)))
        if self.shared is not None:
            y = self.ops.add(y, self._shared(x))
        return y if residual is None else self.ops.add(residual, y)

    def route(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The experts of each row, and their shares."""
        shares, experts = self.ops.route(self.router(x), self.routing, self.bias)
        return experts, shares

    def _shared(self, x: torch.Tensor) -> torch.Tensor:
        assert self.shared is not None
        y = self.shared(x, None)
        if self.shared_gate is None:
            return y
        return self.ops.scale(y, self.ops.activate(self.ops.linear(x, self.shared_gate), "sigmoid"))
