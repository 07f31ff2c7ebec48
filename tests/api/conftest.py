import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from support.fake_runner import FakeRunners
from support.tiny_model import write_tiny_model

from gristmill.api.create import create_model
from gristmill.api.schema import CreateRequest
from gristmill.api.server import make_app
from gristmill.api.service import SERVICE
from gristmill.api.settings import Settings


class Api:
    """A server in this process, in front of runners that follow a script."""

    def __init__(self, client, runners, service):
        self.client, self.runners, self.service = client, runners, service

    async def send(self, method, path, body=None, **options):
        """(status, content type, body bytes); ``body`` is bytes, or a value that is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.client.request(method, path, data=data, **options) as response:
            return response.status, response.headers.get("Content-Type"), await response.read()

    async def json(self, path, body, status=200):
        found, content_type, data = await self.send("POST", path, body)
        assert found == status, data
        assert content_type.startswith("application/json")
        return json.loads(data)

    async def lines(self, path, body):
        status, content_type, data = await self.send("POST", path, body)
        assert (status, content_type) == (200, "application/x-ndjson"), data
        assert data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    async def error(self, path, body):
        """(status, text) of an error."""
        status, content_type, data = await self.send("POST", path, body)
        assert content_type.startswith("application/json"), data
        assert list(json.loads(data)) == ["error"], data
        return status, json.loads(data)["error"]

    async def create(self, name, **fields):
        request = CreateRequest(model=name, **fields)
        return [line async for line in create_model(self.service.store, request)]


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


@pytest.fixture
async def api(tmp_path, tiny_gguf):
    """With one model, ``tiny``."""
    runners = FakeRunners()
    app = make_app(Settings(models=tmp_path / "models"), start_runner=runners)
    server = TestServer(app)
    await server.start_server(auto_decompress=False)  # as ``serve`` has it
    async with TestClient(server) as client:
        api = Api(client, runners, app[SERVICE])
        digest, _ = api.service.store.blobs.add(tiny_gguf)
        await api.create("tiny", files={"tiny.gguf": str(digest)})
        yield api
