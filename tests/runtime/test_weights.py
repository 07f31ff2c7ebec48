"""What a checkpoint must hold: every tensor read, each in its shape and in a format that can be computed on."""

from dataclasses import replace

import pytest
import torch

from gristmill.kernels import FORMATS, open_ops
from gristmill.runtime.checkpoint import TensorInfo, open_checkpoint
from gristmill.runtime.config import Metadata
from gristmill.runtime.errors import UnsupportedModel
from gristmill.runtime.models import architectures, build_model
from gristmill.runtime.weights import Weights


class Changed:
    """A checkpoint of which some tensors and keys are different, or gone (None)."""

    def __init__(self, checkpoint, tensors=(), metadata=()):
        self.tensor, self.release = checkpoint.tensor, checkpoint.release
        self.tensors = {k: v for k, v in {**checkpoint.tensors, **dict(tensors)}.items() if v is not None}
        self.metadata = {k: v for k, v in {**checkpoint.metadata, **dict(metadata)}.items() if v is not None}


@pytest.fixture
def checkpoint(tiny_path):
    with open_checkpoint(tiny_path) as checkpoint:
        yield checkpoint


def build(checkpoint):
    return build_model(Metadata(checkpoint.metadata), Weights(checkpoint, open_ops("reference")), 256)[0]


def test_the_file_itself_builds_and_progress_counts_all_its_bytes(checkpoint):
    seen = []
    weights = Weights(checkpoint, open_ops("reference"), lambda done, total: seen.append((done, total)))
    build_model(Metadata(checkpoint.metadata), weights, 256)
    assert seen[-1][0] == seen[-1][1] == sum(info.n_bytes for info in checkpoint.tensors.values())


@pytest.mark.parametrize("name", ["token_embd.weight", "blk.1.attn_k.weight", "blk.0.ffn_norm.weight"])
def test_a_missing_tensor_is_refused_by_name(checkpoint, name):
    with pytest.raises(UnsupportedModel, match=f"tensor {name}: missing"):
        build(Changed(checkpoint, {name: None}))


def test_a_tensor_that_nothing_reads_is_refused_by_name(checkpoint):
    extra = TensorInfo("blk.0.mystery.weight", FORMATS["F32"], (4,), 0, 16)
    with pytest.raises(UnsupportedModel, match=r"not part of this architecture: blk\.0\.mystery\.weight"):
        build(Changed(checkpoint, {extra.name: extra}))


def test_more_layers_than_the_metadata_says_are_refused(checkpoint):
    with pytest.raises(UnsupportedModel, match=r"not part of this architecture: blk\.1\..* and 6 more"):
        build(Changed(checkpoint, metadata={"llama.block_count": 1}))


def test_a_tensor_of_another_shape_is_refused_by_name(checkpoint):
    name = "blk.0.attn_q.weight"
    wrong = replace(checkpoint.tensors[name], shape=(32, 64))
    with pytest.raises(UnsupportedModel, match=rf"tensor {name}: expected shape \(64, 64\), got \(32, 64\)"):
        build(Changed(checkpoint, {name: wrong}))


@pytest.mark.parametrize(("name", "form"), [("blk.0.attn_norm.weight", "Q8_0"), ("blk.0.attn_q.weight", "I32")])
def test_a_format_that_cannot_be_computed_on_there_is_refused_by_name(checkpoint, name, form):
    row = FORMATS.get(form) or replace(FORMATS["F32"], name=form, ggml_id=26)
    changed = Changed(checkpoint, {name: replace(checkpoint.tensors[name], format=row)})
    changed.tensor = lambda name: torch.zeros(2, 34, dtype=torch.uint8)
    with pytest.raises(UnsupportedModel, match=f"tensor {name}: format {form} is not supported here; supported: "):
        build(changed)


def test_an_unknown_architecture_is_refused_by_name_with_those_that_are_known(checkpoint):
    known = sorted(architectures())
    assert {"bert", "gemma3", "llama", "qwen3moe"} <= set(known)
    with pytest.raises(UnsupportedModel) as error:
        build(Changed(checkpoint, metadata={"general.architecture": "perceptron"}))
    assert str(error.value) == f'unsupported architecture "perceptron"; supported: {", ".join(known)}'


@pytest.mark.parametrize(
    ("key", "value"),
    [("llama.rope.scaling.type", "spiral"), ("llama.attention.temperature_scale", 0.1), ("llama.expert_count", -1)],
)
def test_an_unknown_value_is_refused_by_its_key(checkpoint, key, value):
    with pytest.raises(UnsupportedModel, match=key):
        build(Changed(checkpoint, metadata={key: value}))


def test_a_tied_embedding_is_held_once(checkpoint):
    model = build(checkpoint)
    assert model.output.weight is model.embedding
