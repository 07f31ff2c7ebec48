"""Checkpoints in memory, and the random tensors of a recurrent model's layers, for tests of what a file may hold."""

import torch
from support.paged import rand

from gristmill.kernels import FORMATS
from gristmill.runtime.checkpoint import TensorInfo

HIDDEN, INNER, WIDTH, STATE, HEADS, GROUPS, RANK, FFN, VOCAB = 32, 64, 4, 8, 4, 2, 6, 48, 40


class InMemory:
    """A checkpoint of float32 tensors. ``metadata``: without the architecture's name before each key."""

    def __init__(self, architecture, metadata, values):
        self.values = values
        self.metadata = {f"{architecture}.{k}": v for k, v in metadata.items()} | {"general.architecture": architecture}
        self.tensors = {k: TensorInfo(k, FORMATS["F32"], tuple(v.shape), 0, v.nbytes) for k, v in values.items()}

    def tensor(self, name):
        return self.values[name].contiguous().view(torch.uint8)

    def release(self, name):
        pass


class Tensors(dict):
    """Random tensors; those of a layer by its kind."""

    def __init__(self):
        self.add("token_embd.weight", VOCAB, HIDDEN)
        self.add("output_norm.weight", HIDDEN)

    def add(self, name, *shape):
        self[name] = rand(*shape, seed=len(self)) * 0.3

    def layer(self, i, *kinds):
        for kind in kinds:
            for name, shape in KINDS[kind].items():
                self.add(f"blk.{i}.{name}", *shape)
        if f"blk.{i}.ssm_a" in self:
            self[f"blk.{i}.ssm_a"] = -self[f"blk.{i}.ssm_a"].exp()
        return self


CONV = INNER + 2 * GROUPS * STATE
KINDS = {
    "norm": {"attn_norm.weight": (HIDDEN,)},
    "mamba": {
        "ssm_in.weight": (2 * INNER, HIDDEN),
        "ssm_conv1d.weight": (INNER, WIDTH),
        "ssm_conv1d.bias": (INNER,),
        "ssm_x.weight": (RANK + 2 * STATE, INNER),
        "ssm_dt.weight": (INNER, RANK),
        "ssm_dt.bias": (INNER,),
        "ssm_a": (INNER, STATE),
        "ssm_d": (INNER,),
        "ssm_out.weight": (HIDDEN, INNER),
    },
    "mamba2": {
        "ssm_in.weight": (INNER + CONV + HEADS, HIDDEN),
        "ssm_conv1d.weight": (CONV, WIDTH),
        "ssm_conv1d.bias": (CONV,),
        "ssm_dt.bias": (HEADS,),
        "ssm_a": (HEADS, 1),
        "ssm_d": (HEADS, 1),
        "ssm_norm.weight": (GROUPS, INNER // GROUPS),
        "ssm_out.weight": (HIDDEN, INNER),
    },
    "conv": {
        "shortconv.in_proj.weight": (3 * HIDDEN, HIDDEN),
        "shortconv.conv.weight": (HIDDEN, WIDTH),
        "shortconv.out_proj.weight": (HIDDEN, HIDDEN),
    },
    "attention": {f"attn_{x}.weight": (HIDDEN, HIDDEN) for x in ("q", "k", "v", "output")},
    "ffn_norm": {"ffn_norm.weight": (HIDDEN,)},
    "plain_mlp": {"ffn_up.weight": (FFN, HIDDEN), "ffn_down.weight": (HIDDEN, FFN)},
    "mlp": {"ffn_gate.weight": (FFN, HIDDEN), "ffn_up.weight": (FFN, HIDDEN), "ffn_down.weight": (HIDDEN, FFN)},
}
METADATA = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": HIDDEN,
    "feed_forward_length": FFN,
    "attention.head_count": 2,
    "attention.head_count_kv": [0, 2],
    "attention.layer_norm_rms_epsilon": 1e-5,
    "ssm.inner_size": INNER,
    "ssm.conv_kernel": WIDTH,
    "ssm.state_size": STATE,
    "shortconv.l_cache": WIDTH,
}
MAMBA = METADATA | {"ssm.time_step_rank": RANK}
MAMBA2 = METADATA | {"ssm.time_step_rank": HEADS, "ssm.group_count": GROUPS}
