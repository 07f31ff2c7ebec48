"""Servers for real clients: one with the default model, one whose model says what the test tells it to."""

import asyncio
import threading

import pytest
from aiohttp import web
from support.clerk import Clerks
from support.fake_runner import FakeRunners
from support.models import smollm2_path
from support.qwen import TEMPLATE
from support.service import running_service
from support.tiny_model import write_tiny_model

from gristmill.api.create import create_model
from gristmill.api.schema import CreateRequest
from gristmill.api.server import make_app
from gristmill.api.service import SERVICE
from gristmill.api.settings import Settings

TIMEOUT_S = 120


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """The service with SmolLM2-135M under the name ``smollm2``, on the native kernels."""
    path = smollm2_path()
    folder = tmp_path_factory.mktemp("acceptance")
    with running_service(folder / "models", GRISTMILL_BACKEND="auto") as service:
        service.create("smollm2", path)
        yield service


class Scripted:
    """A server on a thread of its own. The model ``scripted`` has tools and thinking, and says what ``says`` got."""

    def __init__(self, folder, gguf, runners):
        self._folder, self._gguf, self.runners = folder, gguf, runners
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner, self.url = self._run(self._start())

    def says(self, *pieces, then=()):
        """``pieces`` for the next prompt, ``then`` for the one after it."""
        scripts = [list(pieces), *([list(then)] if then else [])]
        self._run(self._script(scripts))

    @property
    def prompts(self):
        return self.runners.last.prompts

    def close(self):
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    async def _start(self):
        app = make_app(Settings(models=self._folder), start_runner=self.runners)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        store = app[SERVICE].store
        digest, _ = store.blobs.add(self._gguf.read_bytes())
        request = CreateRequest(model="scripted", files={"m.gguf": str(digest)})
        async for _ in create_model(store, request):
            pass
        self._service = app[SERVICE]
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _script(self, scripts):
        if not self.runners.started:
            self.runners.next_scripts = scripts
        else:
            self.runners.last.next_scripts = scripts


@pytest.fixture(scope="session")
def scripted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripted")
    server = Scripted(folder / "models", write_tiny_model(folder / "m.gguf", chat_template=TEMPLATE), FakeRunners())
    yield server
    server.close()


@pytest.fixture(scope="session")
def clerk(tmp_path_factory):
    """The same, with a model that answers by rules."""
    yield from _clerk(tmp_path_factory)


@pytest.fixture
def own_clerk(tmp_path_factory):
    """Another one, for a test that makes and deletes models."""
    yield from _clerk(tmp_path_factory)


def _clerk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clerk")
    server = Scripted(folder / "models", write_tiny_model(folder / "m.gguf", chat_template=TEMPLATE), Clerks())
    yield server
    server.close()
