"""Round trips against a registry that others wrote: push, delete, pull, equal digests."""

import json
import random

import pytest
from support.docker_registry import needs_docker_registry, running_docker_registry
from support.model_folder import layer, problems, tiny_gguf, write_manifest
from support.registry import MANIFEST_TYPE, lines_of, statuses

pytestmark = needs_docker_registry


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory):
    with running_docker_registry(tmp_path_factory.mktemp("docker")) as registry:
        yield registry


async def test_what_was_pushed_comes_back(docker_registry, store, transfers):
    layers = [
        layer(store.root, "model", tiny_gguf()),
        layer(store.root, "application/vnd.example.bulk", random.Random(2).randbytes(50_001)),
        {**layer(store.root, "system", b"Be brief."), "from": "elsewhere:latest"},
        layer(store.root, "license", b""),
    ]
    name = f"{docker_registry.host}/team/poet:v1"
    write_manifest(store.root, name.replace(":v1", "/v1"), layers, {"model_format": "gguf"})
    before = store.find(name)
    lines = await lines_of(transfers.push(before, insecure=True))
    assert statuses(lines)[-2:] == ["pushing manifest", "success"]
    accept = {"Accept": MANIFEST_TYPE}
    status, body = docker_registry.request("GET", "/v2/team/poet/manifests/v1", accept)
    assert (status, json.loads(body)["layers"][2]["from"]) == (200, "elsewhere:latest")

    store.delete(name)
    assert not any((store.root / "blobs").iterdir())
    await lines_of(transfers.pull(name, insecure=True))
    after = store.find(name)
    assert (after.digest, after.manifest) == (before.digest, before.manifest)
    assert problems(store.root) == []


async def test_what_the_registry_has_is_not_sent_again(docker_registry, store, transfers):
    layers = [layer(store.root, "model", tiny_gguf()), layer(store.root, "system", b"Once.")]
    for tag in ("one", "two"):
        write_manifest(store.root, f"{docker_registry.host}/team/twice/{tag}", layers, {"model_format": "gguf"})
        model = store.find(f"{docker_registry.host}/team/twice:{tag}")
        first = {}
        for line in await lines_of(transfers.push(model, insecure=True)):
            first.setdefault(line.get("digest"), line)
        assert first.pop(None)["status"] == "pushing manifest"
    uploads = docker_registry.folder / "docker/registry/v2/repositories/team/twice/_uploads"
    assert not uploads.exists() or list(uploads.iterdir()) == []


async def test_a_model_that_is_not_there(docker_registry, transfers):
    from gristmill.api.registry.errors import RegistryError

    with pytest.raises(RegistryError, match=r"^pull model manifest: file does not exist$"):
        await lines_of(transfers.pull(f"{docker_registry.host}/team/nothing", insecure=True))
