"""Adapters in the rows of a step, bit for bit; and loading, keeping and forgetting them while a model runs."""

import threading

import pytest
import torch
from support.lora import adapter
from support.tiny_model import write_tiny_model

from gristmill.kernels.lora import MAX_ADAPTERS
from gristmill.runtime import open_model
from gristmill.runtime.errors import InvalidRequest, OutOfMemory
from gristmill.runtime.lora.adapters import Adapters
from gristmill.runtime.params import Sampling
from gristmill.runtime.step import Span

IDS = [5, 77, 200, 31, 9, 120, 64, 3, 18, 250, 7, 90, 41, 41, 8, 230, 17, 66, 2, 101]


@pytest.fixture
def base(tmp_path):
    return write_tiny_model(tmp_path / "base.gguf")


@pytest.fixture(params=["reference", "auto"])
def model(request, base):
    return open_model(base, backend=request.param, n_ctx=64)


def acquired(model, folder, ranks=(3, 8, 16)):
    paths = [adapter(folder / f"{i}.gguf", rank, seed=i)[0] for i, rank in enumerate(ranks)]
    return [model.adapters.acquire([path]) for path in paths]


def logits(forward, ids, sizes, pages, adapter_id):
    """Of all ``ids``, computed in chunks of these sizes."""
    rows, start = [], 0
    for size in sizes:
        span = Span(ids[start : start + size], start, pages, all_logits=True, adapter_id=adapter_id)
        rows.append(forward([span]).clone())
        start += size
    return torch.cat(rows)


@pytest.mark.parametrize("sizes", [[1] * 20, [7, 1, 12], [18, 2], [19, 1]])
def test_chunks_and_single_tokens_give_the_same_bits(model, tmp_path, sizes):
    for found in acquired(model, tmp_path):
        whole = logits(model.forward(1), IDS, [20], [0, 1, 2, 3], found.id)
        assert torch.equal(logits(model.forward(1), IDS, sizes, [2, 0, 3, 1], found.id), whole)


def test_a_row_has_the_same_bits_whatever_the_others_have(model, tmp_path):
    ids = [-1, *(found.id for found in acquired(model, tmp_path)), -1]
    alone = [logits(model.forward(1), IDS[i:], [10, 1], [0, 1, 2, 3], which) for i, which in enumerate(ids)]
    forward = model.forward(len(ids))
    spans = [Span(IDS[i : i + 10], 0, [4 * i, 4 * i + 1], adapter_id=which) for i, which in enumerate(ids)]
    first = forward(spans).clone()
    spans = [Span([IDS[i + 10]], 10, [4 * i, 4 * i + 1], adapter_id=which) for i, which in enumerate(ids)]
    second = forward(spans).clone()
    for i, rows in enumerate(alone):
        assert torch.equal(first[i], rows[9])
        assert torch.equal(second[i], rows[10])
    assert len({tuple(row.tolist()) for row in (*first[1:4], first[0])}) == 4, "each has its own"


def test_rows_without_adapters_are_those_of_a_model_without(base, model, tmp_path):
    never = open_model(base, backend="reference" if model.ops.name == "reference" else "auto", n_ctx=64)
    plain = logits(never.forward(1), IDS, [15, 1, 1, 3], [0, 1, 2, 3], -1)
    one = acquired(model, tmp_path)[0]
    assert torch.equal(logits(model.forward(1), IDS, [15, 1, 1, 3], [0, 1, 2, 3], -1), plain)
    forward, other = model.forward(2), [4, 5]
    forward([Span(IDS[:15], 0, [0, 1]), Span(IDS[:9], 0, other, adapter_id=one.id)])
    beside = forward([Span([IDS[15]], 15, [0, 1]), Span([IDS[9]], 9, other, adapter_id=one.id)])
    assert torch.equal(beside[0], plain[15])


def test_an_adapter_loaded_later_needs_no_new_capture(model, tmp_path):
    captures, capture = [], model.ops.capture
    model.ops.capture = lambda function: captures.append(function) or capture(function)
    first, second, third = acquired(model, tmp_path, (8, 3, 16))
    forward = model.forward(1)
    for found in (first, second, first, third):
        forward([Span([7], 0, [0], adapter_id=found.id)])
    assert len(captures) == 1, "one step for all that are loaded"
    path, _ = adapter(tmp_path / "late.gguf", 16, seed=9, modules=("attn_q",))
    forward([Span([7], 0, [0], adapter_id=model.adapters.acquire([path]).id)])
    assert len(captures) == 1, "it touches no other weights and has no higher rank"
    path, _ = adapter(tmp_path / "wide.gguf", 40, seed=9)
    wide = model.adapters.acquire([path])
    found = forward([Span([7], 0, [0], adapter_id=wide.id)]).clone()
    assert len(captures) == 2
    forward([Span([7], 0, [0])])
    assert len(captures) == 3, "a step without adapters is one of its own"
    assert torch.equal(found, model.logits([7], adapters=[path]))


def test_what_several_add_is_added_up_in_their_order(model, tmp_path):
    few, _ = adapter(tmp_path / "few.gguf", 3, modules=("attn_q", "ffn_up"))
    paths = [few, adapter(tmp_path / "all.gguf", 8, seed=1)[0]]
    both = model.adapters.acquire(paths)
    assert both.pairs["blk.0.attn_q.weight"].rank == 11
    assert both.pairs["blk.0.attn_k.weight"].rank == 8
    assert model.adapters.acquire(paths) is both
    assert model.adapters.acquire(paths[::-1]) is not both


def test_a_file_that_changed_is_another_adapter(model, tmp_path):
    path, _ = adapter(tmp_path / "a.gguf", 4, seed=0)
    before, old = model.logits(IDS, adapters=[path]).clone(), model.adapters.acquire([path])
    adapter(tmp_path / "b.gguf", 5, seed=1)[0].replace(path)
    new = model.adapters.acquire([path])
    assert old.serial != new.serial
    assert not torch.equal(model.logits(IDS, adapters=[path]), before)
    kept = logits(model.forward(1), IDS, [20], [0, 1, 2, 3], old.id)
    assert torch.equal(kept, before), "who has the old one keeps it"


def test_unused_adapters_are_forgotten_when_there_are_too_many(base, tmp_path, monkeypatch):
    model = open_model(base, backend="reference")
    (one, two, three) = acquired(model, tmp_path, (4, 4, 4))
    adapters = model.adapters
    monkeypatch.setattr(adapters, "_kept_bytes", 2 * one.n_bytes)
    for found in (two, one, three):
        adapters.release(found)
    assert adapters.loaded == [two, three], "not the one that was asked for longest ago"
    with pytest.raises(InvalidRequest, match="not loaded"):
        model.unload_adapter("nobody")


def test_there_is_no_room_for_more_than_can_be_told_apart(base, tmp_path):
    model = open_model(base, backend="reference")
    path, _ = adapter(tmp_path / "a.gguf", 1, modules=("attn_q",), layers=(0,))
    links = [tmp_path / f"{i}.gguf" for i in range(MAX_ADAPTERS + 1)]
    for link in links:
        link.hardlink_to(path)
    used = [model.adapters.acquire([link]) for link in links[:-1]]
    with pytest.raises(OutOfMemory, match="no room for another adapter"):
        model.adapters.acquire([links[-1]])
    model.adapters.release(used[5])
    assert model.adapters.acquire([links[-1]]).id == used[5].id


def test_a_request_gives_its_adapter_back(base, tmp_path):
    model = open_model(base, backend="reference", n_ctx=64)
    path = str(adapter(tmp_path / "a.gguf", 4)[0])
    engine = model.engine(n_slots=2)
    engine.submit(1, IDS, Sampling(temperature=0, max_tokens=3), [], adapters=(path,))
    engine.submit(2, IDS, Sampling(temperature=0, max_tokens=30), [], adapters=(path,))
    (one,) = model.adapters.loaded
    assert one.n_uses == 2
    engine.step()
    engine.abort(2)
    for _ in range(6):
        engine.step()
    assert one.n_uses == 0
    stream = model.generate(IDS, Sampling(temperature=0, max_tokens=30), adapters=[path])
    next(stream)
    assert one.n_uses == 1
    stream.close()
    assert one.n_uses == 0


def test_pages_of_a_forgotten_adapter_are_not_those_of_the_next(base, tmp_path, monkeypatch):
    """It may have the same id and the same name."""
    model = open_model(base, n_ctx=128)
    monkeypatch.setattr(model.adapters, "_kept_bytes", 0)
    engine, path, answers = model.engine(n_slots=1), tmp_path / "a.gguf", []
    for seed in (0, 1):
        adapter(tmp_path / "new.gguf", 8, seed=seed)[0].replace(path)
        engine.submit(seed, IDS * 2, Sampling(temperature=0, max_tokens=4), [], adapters=(str(path),))
        (loaded,) = model.adapters.loaded
        events = [event for _ in range(8) for event in engine.step()]
        answers.append((loaded.id, [token for event in events for token in getattr(event, "tokens", [])]))
        stream = model.generate(IDS * 2, Sampling(temperature=0, max_tokens=4), adapters=[str(path)])
        assert answers[-1][1] == [token for piece in stream for token in piece.tokens]
    assert answers[0][0] == answers[1][0]
    assert engine.stats().cached_tokens == 0


def test_many_threads_load_while_others_are_used(base, tmp_path):
    model = open_model(base, backend="reference")
    paths = [adapter(tmp_path / f"{i}.gguf", 2, seed=i)[0] for i in range(6)]
    adapters: Adapters = model.adapters
    failures = []

    def use(offset):
        try:
            for i in range(30):
                found = adapters.acquire([paths[(i * offset + offset) % len(paths)]])
                assert found.n_uses > 0
                adapters.release(found)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len({found.id for found in adapters.loaded}) == len(paths)
    assert all(found.n_uses == 0 for found in adapters.loaded)
