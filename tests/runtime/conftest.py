import pytest
from support.tiny_model import write_tiny_model

from gristmill.runtime import open_model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny(tiny_path):
    """A tiny model that is only read: engines made from it are each test's own."""
    return open_model(tiny_path, backend="reference", n_ctx=256)
