"""A Llama from a Hugging Face folder computes what Hugging Face's own equations say."""

import torch
from support.hf_folder import LLAMA, llama_tensors, write_folder

from gristmill.runtime import open_model

EPS, N_HEADS, HEAD_DIM = 1e-5, 2, 4


def norm(x, weight):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)


def rotate(x):
    """Rotary embedding as Hugging Face applies it: one half of a head against the other. x: (heads, tokens, dim)."""
    angles = torch.arange(x.shape[1])[:, None] * 10000.0 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def hugging_face_logits(tensors, ids):
    def w(name):
        return tensors[f"model.layers.0.{name}.weight"]

    x = tensors["model.embed_tokens.weight"][ids]
    h = norm(x, w("input_layernorm"))
    q, k, v = (
        (h @ w(f"self_attn.{name}_proj").T).view(len(ids), -1, HEAD_DIM).transpose(0, 1) for name in ("q", "k", "v")
    )
    scores = rotate(q) @ rotate(k).expand(N_HEADS, -1, -1).transpose(1, 2) / HEAD_DIM**0.5
    scores = scores.masked_fill(torch.ones(len(ids), len(ids)).triu(1).bool(), float("-inf"))
    attended = (scores.softmax(-1) @ v).transpose(0, 1).reshape(len(ids), -1)
    x = x + attended @ w("self_attn.o_proj").T
    h = norm(x, w("post_attention_layernorm"))
    gate = torch.nn.functional.silu(h @ w("mlp.gate_proj").T)
    x = x + (gate * (h @ w("mlp.up_proj").T)) @ w("mlp.down_proj").T
    return norm(x, tensors["model.norm.weight"]) @ tensors["lm_head.weight"].T


def test_logits_of_a_folder_are_those_of_hugging_faces_equations(tmp_path):
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    model = open_model(write_folder(tmp_path / "m", LLAMA), backend="reference", kv_type="f32", n_ctx=64)
    torch.testing.assert_close(model.logits(ids), hugging_face_logits(llama_tensors(), ids), rtol=1e-4, atol=1e-4)
