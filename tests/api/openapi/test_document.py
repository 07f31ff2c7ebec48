"""The document describes what is there: every route, and answers as they are."""

import jsonschema
import pytest

from gristmill.api.openapi.document import document
from gristmill.api.openapi.operations import OPERATIONS
from gristmill.api.server import routes


def test_every_route_is_described_and_nothing_else():
    assert set(OPERATIONS) == {(route.method, route.path) for route in routes()}


def test_every_reference_leads_somewhere():
    whole = document()

    def check(value):
        if isinstance(value, dict):
            if "$ref" in value:
                assert value["$ref"].removeprefix("#/components/schemas/") in whole["components"]["schemas"]
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)

    check(whole)
    for schema in whole["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_operation_ids_are_unique():
    ids = [op["operationId"] for path in document()["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))


async def test_the_service_serves_it(api):
    status, content_type, data = await api.send("GET", "/openapi.json")
    assert (status, content_type) == (200, "application/json; charset=utf-8")
    assert data.startswith(b'{"openapi":"3.1.0"')


def validator(path, method="post", status="200"):
    whole = document()
    schema = whole["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return jsonschema.Draft202012Validator({**schema, "components": whole["components"]})


def errors(value, *where):
    return [error.message for error in validator(*where).iter_errors(value)]


CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"model": "tiny", "prompt": "hi"}),
        ("/api/generate", {"model": "tiny", "prompt": "hi", "logprobs": True, "top_logprobs": 2}),
        ("/api/generate", {"model": "tiny", "prompt": "hi", "_debug_render_only": True}),
        ("/api/generate", {"model": "tiny"}),
        ("/api/chat", CHAT),
        ("/api/chat", {**CHAT, "progress": True, "logprobs": True}),
        ("/api/chat", {"model": "tiny"}),
        ("/api/show", {"model": "tiny"}),
        ("/api/show", {"model": "tiny", "verbose": True}),
        ("/api/embed", {"model": "tiny", "input": ["a", "b"]}),
        ("/api/embeddings", {"model": "tiny", "prompt": "a"}),
        ("/v1/rerank", {"model": "tiny", "query": "q", "documents": ["a"], "return_documents": True}),
        ("/api/tokenize", {"model": "tiny", "text": "a", "with_pieces": True}),
        ("/api/detokenize", {"model": "tiny", "tokens": [65]}),
    ],
)
async def test_answers_are_of_their_types(api, path, body):
    assert errors(await api.json(path, {**body, "stream": False}), path) == []
    if "stream" in OPERATIONS["POST", path].body.__struct_fields__ and len(body) > 1 and "_debug" not in str(body):
        for line in await api.lines(path, body):
            assert errors(line, path) == []


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/version", "/api/status"])
async def test_what_is_listed_is_of_its_type(api, path):
    import json

    await api.json("/api/generate", {"model": "tiny", "prompt": "hi", "stream": False})
    _, _, data = await api.send("GET", path)
    assert errors(json.loads(data), path, "get") == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/api/chat", {"model": "no"}, 404), ("/api/chat", {"model": 5}, 400), ("/api/embed", {"input": 5}, 404)],
)
async def test_errors_are_of_their_type(api, path, body, status):
    assert errors(await api.json(path, body, status), path, "post", str(status)) == []
