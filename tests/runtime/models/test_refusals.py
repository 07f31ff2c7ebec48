"""What a file lacks, or asks for and is not built, is refused by name, whatever the architecture."""

import random
import re

import pytest
from support.altered import Altered, build
from support.golden import built_architectures, unpacked

from gristmill.runtime.checkpoint import open_checkpoint
from gristmill.runtime.errors import UnsupportedModel

N_TRIED = 5  # tensors of each file, at random but the same ones in every run
# A file without these is another model, not a broken one: heads that are the embedding, factors, choices, gates.
OPTIONAL = re.compile(
    r"^(output|rope_freqs|rope_factors_(long|short)|position_embd|cls\.output)\.weight"
    r"|\.(ffn_gate_inp_shexp|attn_[qk]_norm|ssm_norm)\.weight$|\.(bias|scale|input_scale|scales)$"
)
# What stands in the place of a missing tensor: another form of the same, or what is left of a part that is not whole.
RELATED = {
    "attn_qkv": "attn_q",
    "attn_kv_b": "attn_k_b",
    "ffn_gate_up_exps": "ffn_gate_exps",
    "layer_output_norm": "post_ffw_norm",
    "ffn_up_shexp": "ffn_gate_shexp",
    "ffn_up": "ffn_gate",
    "ffn_gate_inp": "ffn_gate_exps",
}
LEFT_OUT = {
    "mimo2": r"\.(ffn_(gate|up|down)|attn_sinks)\.weight$",  # beside experts there may be a dense layer, unread
    "falcon-h1": r"\.ssm_norm\.weight$",  # some of its models have none
}


@pytest.fixture(params=built_architectures())
def checkpoint(request):
    return open_checkpoint(unpacked(f"archs/{request.param}.gguf.xz"))


def architecture_of(checkpoint):
    return checkpoint.metadata["general.architecture"]


def tried(checkpoint):
    architecture = architecture_of(checkpoint)
    left_out = re.compile(LEFT_OUT.get(architecture, "$^"))
    names = sorted(name for name in checkpoint.tensors if not OPTIONAL.search(name) and not left_out.search(name))
    return random.Random(architecture).sample(names, N_TRIED)


def skip_without_attention(checkpoint):
    if architecture_of(checkpoint) in ("mamba", "mamba2"):
        pytest.skip("has no attention")


def test_a_whole_file_is_not_refused(checkpoint):
    build(checkpoint)


def test_layers_that_guess_a_token_ahead_are_left_out(checkpoint):
    skip_without_attention(checkpoint)
    key = f"{architecture_of(checkpoint)}.nextn_predict_layers"
    network = build(Altered(checkpoint, metadata={key: 1}))
    assert len(network.blocks) == len(build(checkpoint).blocks) - 1


def test_a_missing_tensor_is_named(checkpoint):
    for name in tried(checkpoint):
        with pytest.raises(UnsupportedModel) as caught:
            build(Altered(checkpoint, without=name))
        stem = name.removesuffix(".weight").rsplit(".", 1)[-1]
        others = {name, name.replace(stem, RELATED.get(stem, stem)), name.replace(".weight", ".bias")}
        assert any(other in str(caught.value) for other in others), f"{name}: {caught.value}"


def test_a_tensor_of_another_shape_is_named(checkpoint):
    for name in tried(checkpoint):
        *rest, last = checkpoint.tensors[name].shape
        with pytest.raises(UnsupportedModel, match=re.escape(f"tensor {name}: expected shape")):
            build(Altered(checkpoint, shapes={name: (*rest, last + 32)}))


def test_a_tensor_of_another_architecture_is_named(checkpoint):
    name = tried(checkpoint)[0]
    strange = Altered(checkpoint)
    strange.tensors["blk.0.of_another.weight"] = checkpoint.tensors[name]
    with pytest.raises(UnsupportedModel, match=r"not part of this architecture: blk\.0\.of_another\.weight"):
        build(strange)


def test_an_unknown_rope_scaling_is_named(checkpoint):
    skip_without_attention(checkpoint)
    key = f"{architecture_of(checkpoint)}.rope.scaling.type"
    with pytest.raises(UnsupportedModel, match=re.escape(f'{key}: "spiral" is not supported; supported: none, linear')):
        build(Altered(checkpoint, metadata={key: "spiral"}))


def test_an_unknown_gating_function_is_named(checkpoint):
    architecture = architecture_of(checkpoint)
    if not checkpoint.metadata.get(f"{architecture}.expert_count"):
        pytest.skip("has no experts")
    key = f"{architecture}.expert_gating_func"
    with pytest.raises(UnsupportedModel, match=re.escape(f"{key}: 9 is not supported; supported: 0, 1, 2, 3")):
        build(Altered(checkpoint, metadata={key: 9}))
