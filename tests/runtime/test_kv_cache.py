import pytest
import torch

from gristmill.runtime.errors import InvalidRequest, ModelError
from gristmill.runtime.kept import Kept, KvShape
from gristmill.runtime.kv_cache import PAGE_SIZE, KVCache, bytes_per_token


@pytest.mark.parametrize(("kv_type", "n_bytes"), [("f16", 2), ("bf16", 2), ("f32", 4), ("q8_0", 1), ("q4_0", 1)])
def test_the_cache_has_a_slot_for_each_token_of_its_pages(tiny, kv_type, n_bytes):
    layers = [Kept(KvShape(2, 32, 64))] * 3
    cache = KVCache.allocate(layers, 3, kv_type, torch.device("cpu"))
    assert len(cache.keys) == len(cache.values) == len(layers)
    width = {"q8_0": 34, "q4_0": 18}.get(kv_type, 32)
    assert cache.keys[0].shape == (3, PAGE_SIZE, 2, width)
    assert cache.values[0].shape == (3, PAGE_SIZE, 2, 2 * width)
    assert cache.keys[0].element_size() == n_bytes
    assert cache.n_bytes == 3 * PAGE_SIZE * bytes_per_token(layers, kv_type)


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_a_quantized_cache_needs_heads_of_whole_blocks(kv_type):
    with pytest.raises(InvalidRequest, match=rf"'{kv_type}' needs heads of a multiple of 32 elements.*use f16"):
        KVCache.allocate([Kept(KvShape(2, 24, 32))], 1, kv_type, torch.device("cpu"))


def test_an_unknown_type_is_refused_with_those_that_are_known(tiny):
    with pytest.raises(InvalidRequest, match="'q3_0' is not supported; supported: f32, f16, bf16, q8_0, q4_0"):
        KVCache.allocate(tiny.decoder.kept, 1, "q3_0", torch.device("cpu"))


def test_a_cache_that_cannot_be_allocated_names_its_size(tiny):
    with pytest.raises(ModelError, match=r"not enough memory for a cache of \d+ tokens \([0-9.]+ GB\); lower num_ctx"):
        KVCache.allocate(tiny.decoder.kept, 1 << 50, "f16", torch.device("cpu"))


@pytest.mark.parametrize("kv_type", ["f16", "q4_0"])
def test_a_page_holds_its_tokens_of_all_layers_and_nothing_overlaps(kv_type):
    layers = [Kept(KvShape(2, 32, 96))] * 3
    cache = KVCache.allocate(layers, 3, kv_type, torch.device("cpu"))
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
    cache = KVCache.allocate(tiny.decoder.kept, 1 << 26, "f16", torch.device("cpu"))
    cache.keys[0][-1] = 1.0
    assert cache.n_bytes > 100e9


def test_layers_may_keep_states_instead_of_keys(tiny):
    layers = [Kept(states=((4, 3), (2, 8, 8))), Kept(KvShape(2, 32, 32)), Kept(KvShape(1, 64, 32), ((5,),))]
    cache = KVCache.allocate(layers, 3, "f16", torch.device("cpu"), n_states=7)
    assert [tuple(t.shape) for t in cache.states[0]] == [(7, 4, 3), (7, 2, 8, 8)]
    assert [len(states) for states in cache.states] == [2, 0, 1]
    assert cache.keys[0].numel() == cache.values[0].numel() == 0
    assert cache.keys[2].shape == (3, PAGE_SIZE, 1, 64)
    assert bytes_per_token(layers, "f16") == 2 * (2 * 64 + 96)
    assert cache.n_bytes == 3 * PAGE_SIZE * bytes_per_token(layers, "f16") + 4 * 7 * (12 + 128 + 5)
