import pytest
from support.tiny_model import write_tiny_model

import gristmill
from gristmill.api.create import create_model
from gristmill.api.schema import CreateRequest
from gristmill.api.store import ModelNotFound, Store


@pytest.fixture
async def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    store = Store(tmp_path / "models")
    digest, _ = store.blobs.add(write_tiny_model(tmp_path / "tiny.gguf").read_bytes())
    async for _ in create_model(store, CreateRequest(model="tiny", files={"tiny.gguf": str(digest)})):
        pass
    return store


async def test_a_model_opens_by_its_file_and_by_its_name_in_the_store(store, tmp_path):
    by_file = gristmill.open_model(tmp_path / "tiny.gguf", backend="reference")
    by_name = gristmill.open_model("TINY", backend="reference")
    ids = by_name.tokenizer.encode("grain")
    assert gristmill.open_tokenizer("tiny").encode("grain") == ids
    assert by_name.logits(ids).equal(by_file.logits(ids))
    assert "dense-f32" in by_name.explain()


def test_a_name_that_is_nowhere_is_not_found(store):
    with pytest.raises(ModelNotFound, match='"nothing" not found'):
        gristmill.open_model("nothing")
