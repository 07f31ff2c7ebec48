import pytest
from support.tiny_model import write_tiny_model

from gristmill.runtime import open_model
from gristmill.runtime.grammar.compiler import Compiler


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny model of random weights: what it writes has sense only where a grammar gives it some."""
    return open_model(
        write_tiny_model(tmp_path_factory.mktemp("grammar") / "tiny.gguf"), backend="reference", n_ctx=512
    )


@pytest.fixture
def compiler(model):
    return Compiler(model.tokenizer, model.ops.device)
