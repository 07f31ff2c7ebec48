"""What metadata may say, and what is refused by name."""

import pytest

from gristmill.runtime.config import Metadata, read_decoder_config
from gristmill.runtime.errors import UnsupportedModel

GOOD = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.context_length": 128,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
}


def read(**changes):
    values = {**GOOD, **{f"llama.{key}": value for key, value in changes.items()}}
    return read_decoder_config(
        Metadata({key: value for key, value in values.items() if value is not ...}), interleaved_rope=True
    )


def test_defaults_follow_from_what_is_given():
    config = read()
    assert (config.key_dim, config.value_dim, config.rope.dim, config.rope.base) == (16, 16, 16, 10000.0)
    assert config.moe is None
    assert config.attention_scale == 0.25


def test_a_number_for_each_layer_counts_as_one_number_when_all_are_equal():
    assert read(**{"attention.head_count_kv": [2, 2]}).n_kv_heads == 2
    with pytest.raises(UnsupportedModel, match=r"attention.head_count_kv"):
        read(**{"attention.head_count_kv": [2, 4]})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_count", ...),
        ("block_count", 0),
        ("block_count", -1),
        ("block_count", 2**31 - 1),
        ("block_count", "2"),
        ("block_count", 2.0),
        ("block_count", True),
        ("embedding_length", 2**32 - 1),
        ("attention.head_count", 0),
        ("attention.head_count", 5),
        ("attention.head_count_kv", 0),
        ("attention.head_count_kv", 3),
        ("attention.key_length", 0),
        ("attention.layer_norm_rms_epsilon", ...),
        ("attention.layer_norm_rms_epsilon", float("nan")),
        ("attention.layer_norm_rms_epsilon", -1e-5),
        ("context_length", 0),
        ("rope.dimension_count", 15),
        ("rope.dimension_count", 18),
        ("rope.freq_base", float("inf")),
        ("rope.freq_base", 0.0),
        ("rope.scaling.type", "spiral"),
        ("rope.scaling.factor", float("nan")),
        ("rope.scaling.factor", -2.0),
        ("expert_count", -1),
        ("feed_forward_length", [96, 48]),
    ],
)
def test_a_bad_value_is_refused_by_its_key(key, value):
    with pytest.raises(UnsupportedModel, match=f"llama.{key}"):
        read(**{key: value})


def test_more_experts_used_than_there_are_is_refused():
    with pytest.raises(UnsupportedModel, match="expert_used_count"):
        read(expert_count=4, expert_used_count=5)


@pytest.mark.parametrize("name", [None, 7, "", ["llama"]])
def test_a_missing_architecture_is_refused(name):
    with pytest.raises(UnsupportedModel, match=r"general.architecture"):
        Metadata({"general.architecture": name})
