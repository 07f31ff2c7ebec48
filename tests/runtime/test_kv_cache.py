from dataclasses import replace

import pytest
import torch

from gristmill.runtime.errors import InvalidRequest, ModelError
from gristmill.runtime.kv_cache import PAGE_SIZE, KVCache, bytes_per_token


@pytest.mark.parametrize(("kv_type", "n_bytes"), [("f16", 2), ("bf16", 2), ("f32", 4), ("q8_0", 1), ("q4_0", 1)])
def test_the_cache_has_a_slot_for_each_token_of_its_pages(tiny, kv_type, n_bytes):
    config = replace(tiny.decoder.config, key_dim=32, value_dim=64)
    cache = KVCache.allocate(config, 3, kv_type, torch.device("cpu"))
    assert len(cache.keys) == len(cache.values) == config.n_layers
    width = {"q8_0": 34, "q4_0": 18}.get(kv_type, 32)
    assert cache.keys[0].shape == (3, PAGE_SIZE, config.n_kv_heads, width)
    assert cache.values[0].shape == (3, PAGE_SIZE, config.n_kv_heads, 2 * width)
    assert cache.keys[0].element_size() == n_bytes
    assert cache.n_bytes == 3 * PAGE_SIZE * bytes_per_token(config, kv_type)


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_a_quantized_cache_needs_heads_of_whole_blocks(tiny, kv_type):
    with pytest.raises(InvalidRequest, match=rf"'{kv_type}' needs heads of a multiple of 32 elements.*use f16"):
        KVCache.allocate(replace(tiny.decoder.config, key_dim=24), 1, kv_type, torch.device("cpu"))


def test_an_unknown_type_is_refused_with_those_that_are_known(tiny):
    with pytest.raises(InvalidRequest, match="'q3_0' is not supported; supported: f32, f16, bf16, q8_0, q4_0"):
        KVCache.allocate(tiny.decoder.config, 1, "q3_0", torch.device("cpu"))


def test_a_cache_that_cannot_be_allocated_names_its_size(tiny):
    with pytest.raises(ModelError, match=r"not enough memory for a cache of \d+ tokens \([0-9.]+ GB\); lower num_ctx"):
        KVCache.allocate(tiny.decoder.config, 1 << 50, "f16", torch.device("cpu"))


@pytest.mark.parametrize("kv_type", ["f16", "q4_0"])
def test_a_page_holds_its_tokens_of_all_layers_and_nothing_overlaps(tiny, kv_type):
    config = replace(tiny.decoder.config, key_dim=32, value_dim=96)
    cache = KVCache.allocate(config, 3, kv_type, torch.device("cpu"))
    tensors = [*cache.keys, *cache.values]
    for page in range(3):
        for i, tensor in enumerate(tensors):
            tensor[page] = len(tensors) * page + i
    for page in range(3):
        for i, tensor in enumerate(tensors):
            assert (tensor[page] == len(tensors) * page + i).all()
    places = [t[page].data_ptr() for page in range(3) for t in tensors]
    assert max(places[: len(tensors)]) < min(places[len(tensors) : 2 * len(tensors)])
    assert not any(place % 64 for place in places)


def test_a_cache_may_be_larger_than_the_memory(tiny):
    cache = KVCache.allocate(tiny.decoder.config, 1 << 26, "f16", torch.device("cpu"))
    cache.keys[0][-1] = 1.0
    assert cache.n_bytes > 100e9
