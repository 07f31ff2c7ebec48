"""Models of which there is nothing but metadata and shapes, for what looks at no weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from gristmill.kernels import FORMATS
from gristmill.runtime.checkpoint import TensorInfo


@dataclass(frozen=True)
class Shapes:
    """A decoder's dimensions. ``keys`` are further metadata, without the architecture in front."""

    architecture: str
    n_layers: int
    n_head: int
    n_head_kv: int
    n_embd: int = 256
    n_ff: int = 512
    n_vocab: int = 512
    head_dim: int = 64
    n_experts: int = 0
    has_shared_expert: bool = False
    is_tied: bool = False
    is_fused: bool = False
    keys: dict[str, object] = field(default_factory=dict)

    def metadata(self) -> dict[str, object]:
        sizes = {
            "block_count": self.n_layers,
            "context_length": 256,
            "embedding_length": self.n_embd,
            "feed_forward_length": self.n_ff,
            "attention.head_count": self.n_head,
            "attention.head_count_kv": self.n_head_kv,
            "attention.key_length": self.head_dim,
            "attention.value_length": self.head_dim,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "attention.layer_norm_epsilon": 1e-5,
        }
        if self.n_experts:
            sizes |= {"expert_count": self.n_experts, "expert_used_count": 2}
        named = {f"{self.architecture}.{key}": value for key, value in (sizes | self.keys).items()}
        return {"general.architecture": self.architecture, **named}

    def tensors(self, format: str = "F16") -> dict[str, TensorInfo]:
        """Matrices in ``format``, all else in F32; in no particular order, which must not matter."""
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.n_vocab, self.n_embd)}
        if not self.is_tied:
            shapes["output.weight"] = (self.n_vocab, self.n_embd)
        for layer in reversed(range(self.n_layers)):
            shapes |= {f"blk.{layer}.{part}.weight": shape for part, shape in self._layer().items()}
        shapes["output_norm.weight"] = (self.n_embd,)
        return {name: self._info(name, shape, format) for name, shape in shapes.items()}

    def _layer(self) -> dict[str, tuple[int, ...]]:
        n_q, n_kv = self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        attention = {
            "attn_norm": (self.n_embd,),
            "attn_q": (n_q, self.n_embd),
            "attn_k": (n_kv, self.n_embd),
            "attn_v": (n_kv, self.n_embd),
            "attn_output": (self.n_embd, n_q),
        }
        if self.is_fused:
            attention = {"attn_norm": (self.n_embd,), "attn_qkv": (n_q + 2 * n_kv, self.n_embd)}
            attention["attn_output"] = (self.n_embd, n_q)
        mlp = {"ffn_up": (self.n_ff, self.n_embd), "ffn_down": (self.n_embd, self.n_ff)}
        if not self.is_fused:
            mlp["ffn_gate"] = (self.n_ff, self.n_embd)
        if not self.n_experts:
            return attention | mlp
        experts = {f"{name}_exps": (self.n_experts, *shape) for name, shape in mlp.items()}
        shared = {f"{name}_shexp": shape for name, shape in mlp.items()} if self.has_shared_expert else {}
        return attention | {"ffn_gate_inp": (self.n_experts, self.n_embd)} | experts | shared

    def _info(self, name: str, shape: tuple[int, ...], format: str) -> TensorInfo:
        row = FORMATS["F32" if len(shape) == 1 or "gate_inp" in name else format]
        n_rows = 1
        for n in shape[:-1]:
            n_rows *= n
        return TensorInfo(name, row, shape, 0, n_rows * row.row_bytes(shape[-1]))


MODELS = {
    "smollm2": Shapes("llama", 30, 9, 3, 576, 1536, 49152, is_tied=True),
    "gemma3": Shapes("gemma3", 18, 4, 1, 640, 2048, 262144, 256, is_tied=True, keys={"attention.sliding_window": 512}),
    "llama, 8 queries a key": Shapes("llama", 13, 8, 1),
    "llama, a key each": Shapes("llama", 9, 4, 4),
    "llama of 80 layers": Shapes("llama", 80, 4, 2),
    "qwen2 of 80 layers": Shapes("qwen2", 80, 8, 1),
    "llama of 80 layers, a key each": Shapes("llama", 80, 2, 2),
    "llama, 8 experts": Shapes("llama", 17, 8, 2, n_experts=8),
    "llama, 4 experts": Shapes("llama", 11, 4, 2, n_experts=4),
    "qwen2moe, shared expert": Shapes(
        "qwen2moe", 17, 4, 4, n_experts=16, has_shared_expert=True, keys={"expert_feed_forward_length": 512}
    ),
    "phi3, fused": Shapes("phi3", 32, 4, 4, is_fused=True, keys={"rope.dimension_count": 64}),
    "falcon": Shapes("falcon", 33, 4, 1, is_fused=True, is_tied=True),
    "llama, rows of 80 in the MLP": Shapes("llama", 9, 4, 2, n_ff=80),
    "llama, rows of 96": Shapes("llama", 9, 4, 2, n_embd=96, n_ff=160),
}
