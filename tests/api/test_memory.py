"""What a model is predicted to need, and how much memory there is, by made-up files of the system."""

import math
from types import SimpleNamespace

import pytest
from support.golden import unpacked
from support.vision import write_tiny_projector

from gristmill.api.memory import (
    KV_BYTES,
    PROCESS_BYTES,
    WEIGHT_FACTOR,
    available_bytes,
    cache_elements,
    demand,
    draft_bytes,
    projector_bytes,
    state_elements,
    states_bytes,
)
from gristmill.api.store.facts import FactsCache
from gristmill.kernels.kv import KV_TYPES
from gristmill.runtime import open_model
from gristmill.runtime.checkpoint import read_gguf_header
from gristmill.runtime.checkpoint.gguf import GgufCheckpoint
from gristmill.runtime.kv_cache import bytes_per_token

GIB = 1 << 30


def test_the_cache_types_are_the_kernels():
    assert set(KV_TYPES) <= set(KV_BYTES)
    assert all(kind.bytes_per_element == KV_BYTES[name] for name, kind in KV_TYPES.items())


@pytest.mark.parametrize("kv_type", ["f16", "f32"])
def test_the_prediction_is_what_the_cache_and_the_weights_take(tmp_path, tiny_gguf, kv_type):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf)
    facts = FactsCache().facts(path)
    needed = demand(facts.weight_bytes, facts.cache_elements, kv_type)
    model = open_model(path, backend="reference", n_ctx=64, kv_type=kv_type)
    cache = model.engine(n_slots=2, n_contexts=2).forward.cache
    assert needed.total(2 * 64) - needed.total(0) == cache.n_bytes
    assert needed.fixed == int(facts.weight_bytes * WEIGHT_FACTOR) + PROCESS_BYTES
    assert facts.weight_bytes < len(tiny_gguf) < 2 * facts.weight_bytes


def test_a_draft_model_is_predicted_with_its_own_cache(tmp_path, tiny_gguf):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf)
    facts = FactsCache().facts(path)
    model = open_model(path, backend="reference", n_ctx=64)
    cache = model._drafter_for(model)._forward.cache
    weights = facts.weight_bytes * WEIGHT_FACTOR
    assert draft_bytes(facts.weight_bytes, facts.cache_elements, "f16", 64) == math.ceil(weights + cache.n_bytes)


def write(root, path, text):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def system(tmp_path):
    write(tmp_path, "proc/meminfo", f"MemTotal: 1 kB\nMemAvailable:  {8 * GIB // 1024} kB\n")
    return tmp_path


def test_without_a_limit_it_is_what_the_system_has(system):
    assert available_bytes(system) == 8 * GIB
    write(system, "proc/self/cgroup", "0::/user/me\n")
    write(system, "sys/fs/cgroup/user/me/memory.max", "max\n")
    assert available_bytes(system) == 8 * GIB


@pytest.mark.parametrize("limited", ["", "user/", "user/me/"])
def test_a_containers_limit_counts_wherever_it_is_set(system, limited):
    write(system, "proc/self/cgroup", "1:cpu:/x\n0::/user/me\n")
    write(system, f"sys/fs/cgroup/{limited}memory.max", str(4 * GIB))
    write(system, f"sys/fs/cgroup/{limited}memory.current", str(3 * GIB))
    write(system, f"sys/fs/cgroup/{limited}memory.stat", f"anon 7\ninactive_file {GIB}\n")
    assert available_bytes(system) == 2 * GIB


def test_control_groups_of_version_1(system):
    write(system, "proc/self/cgroup", "3:cpu,cpuacct:/x\n5:memory:/docker/abc\n")
    folder = "sys/fs/cgroup/memory/docker/abc"
    write(system, f"{folder}/memory.limit_in_bytes", str(2 * GIB))
    write(system, f"{folder}/memory.usage_in_bytes", str(GIB))
    write(system, f"{folder}/memory.stat", "cache 5\n")
    write(system, "sys/fs/cgroup/memory/memory.limit_in_bytes", str((1 << 63) - 4096))
    assert available_bytes(system) == GIB


def test_this_machine_has_some():
    assert available_bytes() > 0


class Header:
    def __init__(self, architecture, metadata, **shapes):
        self.metadata = {"general.architecture": architecture} | {f"{architecture}.{k}": v for k, v in metadata.items()}
        self.tensors = {name.replace("__", "."): SimpleNamespace(shape=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("header", "elements"),
    [
        (Header("llama", {"attention.head_count": 2}, blk__0__attn_q__weight=(8, 8)), 0),
        (
            Header(
                "mamba2",
                {"ssm.inner_size": 64, "ssm.state_size": 16},
                blk__0__ssm_conv1d__weight=(96, 4),
                blk__1__ssm_conv1d__weight=(96, 4),
            ),
            2 * (64 * 16 + 96 * 3),
        ),
        (Header("lfm2", {"ssm.inner_size": 0}, blk__1__shortconv__conv__weight=(32, 3)), 32 * 2),
        (
            Header(
                "kimi-linear",
                {"kda.head_dim": 8, "attention.head_count": [4, 0]},
                blk__1__ssm_conv1d_q__weight=(32, 1, 4),
                blk__1__ssm_conv1d_k__weight=(32, 1, 4),
                blk__1__ssm_conv1d_v__weight=(32, 1, 4),
            ),
            4 * 8 * 8 + 3 * 32 * 3,
        ),
        (Header("odd", {"ssm.inner_size": "x"}, blk__0__ssm_conv1d__weight=(2, 3)), 4),
    ],
    ids=lambda value: value.metadata["general.architecture"] if isinstance(value, Header) else "",
)
def test_the_states_of_recurrent_layers_are_told_from_the_header(header, elements):
    assert state_elements(header) == elements


@pytest.mark.parametrize("name", ["deepseek2-moe", "mistral4-moe", "minicpm3-dense", "gemma3-dense"])
def test_what_a_header_tells_of_the_cache_is_what_the_layers_keep(name):
    path = unpacked(f"archs/{name}.gguf.xz")
    kept = open_model(path, backend="reference").decoder.kept
    n_bytes = bytes_per_token(kept, "f32")
    with GgufCheckpoint(path) as checkpoint:
        assert 4 * cache_elements(checkpoint) == n_bytes


def test_states_count_for_each_place_and_snapshots_are_bounded():
    assert states_bytes(0, 16) == 0
    assert states_bytes(1000, 16) == 4000 * (16 + 256)
    assert states_bytes(1 << 24, 2) == (2 + 8) * (64 << 20)
    assert states_bytes(1 << 28, 1) == (1 + 4) * (1 << 30)


def test_a_projector_is_predicted_with_what_it_computes_with(tmp_path):
    header = read_gguf_header(write_tiny_projector(tmp_path / "mmproj.gguf", "gemma3", 64))
    weights = sum(info.n_bytes for info in header.tensors.values())
    work = 4 * 64 * (8 * 32 + 2 * 48)  # float32, 64 patches
    assert projector_bytes(header) == math.ceil(weights * WEIGHT_FACTOR) + work
    broken = read_gguf_header(
        write_tiny_projector(tmp_path / "none.gguf", "gemma3", 64, vision__patch_size=None, vision__image_size=0)
    )
    assert projector_bytes(broken) == math.ceil(weights * WEIGHT_FACTOR)
