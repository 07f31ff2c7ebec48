"""The operators that model code is written in.

Model code calls methods of ``Ops`` and views of their results, nothing else between the token ids and the
logits: that is what lets a backend record a step and run it without Python. All activations are float32, rows
are tokens. Every operator computes each row of its result by itself, in one order that does not depend on the
other rows of the call (batch invariance).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .cpu.backend import CpuBackend
from .dispatch import Backend, Graph, Table, Weight
from .layout import TokenLayout
from .lora import LoraPair, LoraTable
from .qtensor import QTensor
from .reference import ReferenceBackend
from .specs import AttentionSpec, DeltaSpec, LayerNorm, Norm, Projection, Rotation, Routing, StateSpace

BACKENDS = ("auto", "cpu", "reference", "reference-bf16")
log = logging.getLogger(__name__)


class Ops:
    """Operators bound to a device and a chain of backends."""

    def __init__(self, backends: list[Backend], device: torch.device):
        self.device = device
        self.table = Table(backends)
        self.weights: list[Weight] = []

    @property
    def name(self) -> str:
        return self.table.backends[0].name

    @property
    def own_threads(self) -> bool:
        """Whether the work is done by threads that are not torch's."""
        return self.table.backends[0].own_threads

    # -- weights -----------------------------------------------------------------------------------------------

    def prepare(self, name: str, tensor: QTensor) -> Weight:
        """``tensor`` in the form that the fastest backend for its format computes on. Called once, at load."""
        for backend in self.table.backends:
            weight = backend.prepare(name, tensor, self.device)
            if weight is not None:
                self.weights.append(weight)
                return weight
        raise LookupError(f"no backend takes weight {name} in {tensor.format.name}")

    def linear(
        self,
        x: torch.Tensor,
        w: Weight,
        *,
        bias: torch.Tensor | None = None,
        norm: Norm | None = None,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """norm(x (n, in)) times w (out, in) transposed, plus bias (out,), plus residual (n, out) -> (n, out)."""
        return self.table.find("linear", w.stored)(x, w, bias, norm, residual)

    def linears(
        self, x: torch.Tensor, projections: Sequence[Projection], norm: Norm | None = None
    ) -> list[torch.Tensor]:
        """``linear`` of one x (n, in) with up to four weights; x is made ready once."""
        return self.table.find("linears", projections[0].weight.stored)(x, projections, norm)

    def gated_linear(
        self, x: torch.Tensor, gate: Projection, up: Projection, activation: str, norm: Norm | None = None
    ) -> torch.Tensor:
        """activation(linear(x, gate)) * linear(x, up); activation is ``silu`` or ``gelu`` (tanh form)."""
        return self.table.find("gated_linear", gate.weight.stored)(x, gate, up, activation, norm)

    def expert_linear(self, x: torch.Tensor, w: Weight, experts: torch.Tensor) -> torch.Tensor:
        """x (n, k or 1, in), w (n_experts, out, in), experts int64 (n, k) -> (n, k, out): row by row its expert."""
        return self.table.find("expert_linear", w.stored)(x, w, experts)

    def head_linear(self, x: torch.Tensor, w: Weight) -> torch.Tensor:
        """x (n, h, in), w (h, out, in) -> (n, h, out): each head with its matrix. Heads of x may lie apart."""
        return self.table.find("head_linear", w.stored)(x, w)

    def embedding(self, ids: torch.Tensor, w: Weight) -> torch.Tensor:
        """ids int64 (n,), w (n_vocab, hidden) -> (n, hidden)."""
        return self.table.find("embedding", w.stored)(ids, w)

    # -- adapters, which add in place --------------------------------------------------------------------------

    def lora_pair(self, a: torch.Tensor, b: torch.Tensor, *, embedding: bool = False) -> LoraPair:
        """What an adapter has for a weight, see ``LoraPair.of``, in the form that the fastest backend computes on."""
        pair: LoraPair = self.table.find("lora_pair")(a, b, embedding)
        return pair

    def lora(
        self,
        ys: Sequence[torch.Tensor],
        x: torch.Tensor,
        tables: Sequence[LoraTable],
        adapter_ids: torch.Tensor,
        max_rank: int,
        norm: Norm | None = None,
    ) -> None:
        """Each of up to four ys (n, out) += B A norm(x (n, in)), row by row with the pair of its adapter.

        ``adapter_ids`` int32 (n,), below 0 for none. No pair has a (padded) rank above ``max_rank``.
        """
        self.table.find("lora")(ys, x, tables, adapter_ids, max_rank, norm)

    def lora_experts(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        table: LoraTable,
        adapter_ids: torch.Tensor,
        max_rank: int,
        experts: torch.Tensor,
    ) -> None:
        """``lora`` beside ``expert_linear``: y (n, k, out), x (n, k or 1, in), experts int64 (n, k)."""
        self.table.find("lora_experts")(y, x, table, adapter_ids, max_rank, experts)

    def lora_embedding(
        self, y: torch.Tensor, ids: torch.Tensor, table: LoraTable, adapter_ids: torch.Tensor, max_rank: int
    ) -> None:
        """``lora`` beside ``embedding``: y (n, hidden) += B times the row of A that ids int64 (n,) name."""
        self.table.find("lora_embedding")(y, ids, table, adapter_ids, max_rank)

    # -- rows --------------------------------------------------------------------------------------------------

    def rms_norm(self, x: torch.Tensor, norm: Norm, residual: torch.Tensor | None = None) -> torch.Tensor:
        """norm(x (n, d)), plus residual (n, d)."""
        return self.table.find("rms_norm")(x, norm, residual)

    def layer_norm(self, x: torch.Tensor, norm: LayerNorm) -> torch.Tensor:
        """norm(x (n, d))."""
        return self.table.find("layer_norm")(x, norm)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x + y, y of x's shape or one row (a bias)."""
        return self.table.find("add")(x, y)

    def scale(self, x: torch.Tensor, factor: float | torch.Tensor) -> torch.Tensor:
        """x times a number, or times a tensor that broadcasts."""
        return self.table.find("scale")(x, factor)

    def softcap(self, x: torch.Tensor, cap: float) -> torch.Tensor:
        """cap * tanh(x / cap)."""
        return self.table.find("softcap")(x, cap)

    def clamp(self, x: torch.Tensor, limit: float) -> torch.Tensor:
        """x held between -limit and limit."""
        return self.table.find("clamp")(x, limit)

    def gated(self, gate: torch.Tensor, up: torch.Tensor, activation: str) -> torch.Tensor:
        """activation(gate) * up; activations are those of ``activate``, and gpt-oss's ``oai_swiglu``."""
        return self.table.find("gated")(gate, up, activation)

    def activate(self, x: torch.Tensor, activation: str) -> torch.Tensor:
        """activation(x): ``silu``, ``gelu`` (tanh form), ``gelu_erf``, ``relu``, ``relu_sqr`` or ``sigmoid``."""
        return self.table.find("activate")(x, activation)

    def gather(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """x (n, d), rows int64 (m,) -> (m, d)."""
        return self.table.find("gather")(x, rows)

    def concat(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x (n, h or 1, a) and y (n, h, b), side by side -> (n, h, a + b). Heads may lie apart."""
        return self.table.find("concat")(x, y)

    # -- positions and attention -------------------------------------------------------------------------------

    def rope_angles(
        self, positions: torch.Tensor, inv_freq: torch.Tensor, magnitude: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """positions int64 (n,), inv_freq float64 (dim / 2,) -> cos, sin float32 (n, dim / 2), times magnitude."""
        return self.table.find("rope_angles")(positions, inv_freq, magnitude)

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
        """Turn q (n, n_heads, k_dim) and k (n, n_kv_heads, k_dim); write k and v to the cache; return the turned q.

        ``norms`` are applied to each head of q and k first, or with ``norm_last`` afterwards. Heads of v may lie
        apart, and may have no elements. The caches are tensors of ``kernels.kv``; how keys and
        values lie in them is the backend's business.
        """
        return self.table.find("rope_store")(q, k, v, rotation, k_cache, v_cache, layout, norms, norm_last)

    def attention(
        self,
        q: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        layout: TokenLayout,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        """Paged attention: q (n, n_heads, k_dim) -> (n, n_heads, v_dim). Head h reads KV head h // n_rep.

        Not causal, all tokens of a sequence must be in the cache already.
        """
        return self.table.find("attention")(q, k_cache, v_cache, layout, spec)

    # -- states of sequences -----------------------------------------------------------------------------------

    def short_conv(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        state: torch.Tensor,
        layout: TokenLayout,
        activation: str = "",
    ) -> torch.Tensor:
        """Causal convolution of x (n, channels), each channel for itself -> (n, channels); then ``silu``, or nothing.

        ``weight`` (width, channels), the oldest token's row first, ``bias`` (channels,); ``state`` (n_states,
        width - 1, channels) holds a sequence's last inputs, oldest first. Width is at most 16.
        """
        return self.table.find("short_conv")(x, weight, bias, state, layout, activation)

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
        """Mamba 2's state space (arXiv:2405.21060), token by token: x (n, n_heads * head_dim) -> the same shape.

        dt (n, n_heads), b and c (n, n_groups * d_state), each group for heads that follow each other; ``state``
        (n_states, n_heads, d_state, head_dim).
        """
        return self.table.find("ssd_scan")(x, dt, b, c, space, state, layout)

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
        """Mamba's state space (arXiv:2312.00752), token by token: x and dt (n, channels) -> (n, channels).

        b and c (n, d_state); ``state`` (n_states, d_state, channels).
        """
        return self.table.find("selective_scan")(x, dt, b, c, space, state, layout)

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
        """A gated delta network: v (n, n_v_heads, value_dim) -> (n, n_v_heads, value_dim).

        q and k (n, n_k_heads, key_dim) are divided by their lengths, and q by sqrt(key_dim). ``decay`` (n, n_v_heads),
        or (n, n_v_heads * key_dim), goes through what ``spec`` says, ``beta`` (n, n_v_heads) through a sigmoid. Each
        head's state S, of ``state`` (n_states, n_v_heads, key_dim, value_dim), is multiplied by its decay, then
        learns what it said wrongly: S += k beta (v - k S); the result is q S.
        """
        return self.table.find("delta_scan")(q, k, v, decay, beta, state, layout, spec)

    # -- experts -----------------------------------------------------------------------------------------------

    def route(
        self, logits: torch.Tensor, routing: Routing, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """logits (n, n_experts) -> weights (n, n_used) and experts int64 (n, n_used), best first.

        ``bias`` (n_experts,) is added where experts are chosen, not to their weights.
        """
        return self.table.find("route")(logits, routing, bias)

    def combine(self, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """y (n, k, d), weights (n, k) -> (n, d), summed in the order of k."""
        return self.table.find("combine")(y, weights)

    # -- sampling ----------------------------------------------------------------------------------------------

    def top_k(self, x: torch.Tensor, k: int, bits: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The k highest of x (n,), highest first, of equal ones the first, and their places, int64. NaN is highest.

        With ``bits``, those of ``masked(x, bits)``.
        """
        return self.table.find("top_k")(x, k, bits)

    def masked(self, x: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """x (n,) where its bit is set, else -Inf. ``bits`` int32 (ceil(n / 32),), the lowest bit of each first."""
        return self.table.find("masked")(x, bits)

    # -- whole steps -------------------------------------------------------------------------------------------

    def capture(self, function: Callable[[], Any]) -> Graph:
        """Record the operators that ``function`` calls, for ``replay()``. The last backend simply calls it."""
        for backend in self.table.backends:
            graph = backend.capture(function)
            if graph is not None:
                return graph
        raise LookupError("no backend captures")

    def explain(self) -> str:
        """Which form each weight has in memory and which function serves each operator, as a table of text."""
        lines = [
            f"backend {self.name} on {self.device}",
            "",
            f"{'weight':40} {'shape':24} {'file':8} kept as",
        ]
        lines += [f"{w.name:40} {w.shape!s:24} {w.format:8} {w.stored}" for w in self.weights]
        lines += ["", f"{'operator':16} {'weights':10} {'backend':16} function"]
        lines += [f"{op:16} {form:10} {backend:16} {function}" for op, form, backend, function in self.table.rows]
        return "\n".join(lines)


def open_ops(backend: str = "auto", device: torch.device | str = "cpu", *, n_threads: int = 0) -> Ops:
    """The operators of a backend by name, one of ``BACKENDS``. Raises ValueError for another name.

    ``cpu`` are the native kernels, on ``n_threads`` threads (0: as many as this process has cores); ValueError says
    why where there are none. ``auto`` is ``cpu`` where that works. Else it is the reference with weights in bfloat16
    where the CPU multiplies bfloat16 natively, else in float32; why is logged once.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} does not exist; known: {', '.join(BACKENDS)}")
    chosen = torch.device(device)
    if chosen.type == "cpu" and backend in ("auto", "cpu"):
        try:
            return Ops([CpuBackend(n_threads)], chosen)
        except ImportError as error:
            if backend == "cpu":
                raise ValueError(str(error)) from None
            log.warning("%s", error)
    bf16 = backend == "reference-bf16" or (backend == "auto" and _multiplies_bf16(chosen))
    return Ops([ReferenceBackend(torch.bfloat16 if bf16 else torch.float32)], chosen)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type != "cpu":
        return True
    capabilities = torch.backends.cpu.get_cpu_capability()
    return capabilities == "AVX512" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
