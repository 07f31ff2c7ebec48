import random

import pytest
from support.model_folder import tiny_gguf
from support.registry import MODEL, SMALL, SYSTEM, Registry

from gristmill.api.registry.transfers import Transfers
from gristmill.api.registry.transport import Transport
from gristmill.api.store import Store

BULK = "application/vnd.example.bulk"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


@pytest.fixture
async def make_transfers(store):
    """Transfers of ``store`` with small limits; all are closed at the end."""
    made = []

    def make(limits=SMALL, *, key=None, store=store, **options):
        made.append(Transfers(store, Transport(limits, **options), key))
        return made[-1]

    yield make
    for transfers in made:
        await transfers.close()


@pytest.fixture
def transfers(make_transfers):
    return make_transfers()


@pytest.fixture
async def registry():
    async with Registry() as registry:
        yield registry


@pytest.fixture
def bulk():
    """Content of five parts."""
    return random.Random(1).randbytes(18_001)


@pytest.fixture
def model(registry, bulk):
    """A model at the registry: its manifest."""
    return registry.add_model("a/b", (MODEL, tiny_gguf()), (BULK, bulk), (SYSTEM, b"Be brief."))
