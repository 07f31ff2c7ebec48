"""Everything around the models: listing, showing, copying, deleting, blobs; and paths that are not there."""

import asyncio
import hashlib
import json

import pytest


async def get(api, path):
    status, _, data = await api.send("GET", path)
    assert status == 200
    return json.loads(data)


async def test_the_root_answers_as_ollama_does(api):
    assert await api.send("GET", "/") == (200, "text/plain; charset=utf-8", b"Ollama is running")
    assert (await api.send("HEAD", "/"))[::2] == (200, b"")


async def test_version_looks_like_a_recent_ollama(api):
    assert (await get(api, "/api/version")) == {"version": "0.33.0"}


async def test_tags_have_ollamas_keys(api):
    (model,) = (await get(api, "/api/tags"))["models"]
    assert list(model) == ["name", "model", "modified_at", "size", "digest", "details", "capabilities"]
    assert model["name"] == model["model"] == "tiny:latest"
    assert len(model["digest"]) == 64
    assert model["details"]["format"] == "gguf"
    assert model["details"]["context_length"] == 512
    assert model["capabilities"] == ["completion"]


async def test_show_tells_everything_and_arrays_only_when_asked(api):
    shown = await api.json("/api/show", {"name": "tiny"})
    assert shown["details"]["quantization_level"] == "Q8_0"
    assert shown["template"].startswith("{% for m in messages %}")
    assert shown["model_info"]["llama.block_count"] == 2
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    assert "tokenizer.chat_template" not in shown["model_info"]
    assert shown["tensors"][0] == {"name": "token_embd.weight", "type": "Q8_0", "shape": [64, 261]}
    verbose = await api.json("/api/show", {"model": "tiny", "verbose": True})
    assert len(verbose["model_info"]["tokenizer.ggml.tokens"]) == 261


async def test_ps_lists_what_is_loaded_with_its_context(api):
    assert (await get(api, "/api/ps")) == {"models": []}
    await api.json("/api/generate", {"model": "tiny", "keep_alive": -1})
    (model,) = (await get(api, "/api/ps"))["models"]
    assert (model["name"], model["size"], model["size_vram"], model["context_length"]) == ("tiny:latest", 1100, 0, 512)
    assert model["expires_at"] > "2300"


async def test_ps_tells_how_far_a_load_has_come(api):
    api.runners.loading = asyncio.Event()
    loading = asyncio.create_task(api.json("/api/generate", {"model": "tiny"}))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if models := (await get(api, "/api/ps"))["models"]:
            break
    assert models[0]["loading"] == {"completed": 30, "total": 120}
    api.runners.loading.set()
    assert (await loading)["done_reason"] == "load"
    assert "loading" not in (await get(api, "/api/ps"))["models"][0]


async def test_copy_and_delete(api):
    copied = await api.send("POST", "/api/copy", {"source": "tiny", "destination": "twin"})
    assert copied[::2] == (200, b"")
    assert len((await get(api, "/api/tags"))["models"]) == 2
    assert (await api.send("DELETE", "/api/delete", {"model": "tiny"}))[::2] == (200, b"")
    assert [m["name"] for m in (await get(api, "/api/tags"))["models"]] == ["twin:latest"]
    assert (await api.json("/api/generate", {"model": "twin"}))["done_reason"] == "load"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": "none"}, 404, "model 'none:latest' not found"),
        ("/api/copy", {"source": "none", "destination": "x"}, 404, 'model "none" not found'),
        ("/api/copy", {"source": "", "destination": "x"}, 400, 'source "" is invalid'),
        ("/api/copy", {"source": "tiny", "destination": "../x"}, 400, 'destination "../x" is invalid'),
        ("/api/create", {}, 400, "invalid model name"),
        ("/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
        ("/api/create", {"model": "x", "files": {"/etc/passwd": "sha256:" + "0" * 64}}, 400, "must be relative"),
        ("/api/create", {"model": "x", "files": {"a.gguf": "sha256:../../x"}}, 400, "invalid digest format"),
        ("/api/create", {"model": "x", "from": "tiny", "quantize": "Q4_K_M"}, 400, "quantization is only supported"),
    ],
)
async def test_bad_requests_are_refused(api, path, body, status, text):
    found, error = await api.error(path, body)
    assert found == status
    assert text in error


async def test_delete_of_what_is_not_there(api):
    assert (await api.send("DELETE", "/api/delete", {"model": "none"}))[0] == 404
    assert (await api.send("DELETE", "/api/delete", {"model": "a/b/c/d"}))[0] == 400
    assert (await api.send("DELETE", "/api/delete", {}))[0] == 400


async def test_blobs_are_stored_once_and_only_when_their_digest_is_right(api):
    data = b"grain" * 100_000
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (await api.send("HEAD", f"/api/blobs/{digest}"))[0] == 404
    status, _, error = await api.send("POST", f"/api/blobs/{digest}", data[:-1])
    assert status == 400
    assert "digest mismatch" in json.loads(error)["error"]
    assert (await api.send("HEAD", f"/api/blobs/{digest}"))[0] == 404
    assert (await api.send("POST", f"/api/blobs/{digest}", data))[0] == 201
    assert (await api.send("POST", f"/api/blobs/{digest}", b""))[0] == 200
    assert (await api.send("HEAD", f"/api/blobs/{digest}"))[0] == 200
    for bad in ("sha256:12", "md5:" + "0" * 64, "sha256:" + "G" * 64):
        assert (await api.send("HEAD", f"/api/blobs/{bad}"))[0] == 400


async def test_unknown_paths_and_methods_have_ollamas_texts(api):
    assert await api.send("GET", "/nothing") == (404, "text/plain; charset=utf-8", b"404 page not found")
    status, content_type, data = await api.send("GET", "/api/chat")
    assert (status, content_type, data) == (405, "text/plain; charset=utf-8", b"405 method not allowed")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/tags/", 301), ("POST", "/api/chat/", 307)])
async def test_a_slash_too_many_is_redirected(api, method, path, status):
    async with api.client.request(method, path + "?a=1", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (status, path[:-1] + "?a=1")


async def test_a_compressed_body_is_not_unpacked(api):
    status, _, data = await api.send("POST", "/api/chat", b"x", headers={"Content-Encoding": "gzip"})
    assert status == 415
    assert "content-encoding" in json.loads(data)["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "answer"),
    [
        ("POST", "/api/me", 401, {"error": "unauthorized"}),
        ("POST", "/api/signout", 401, {"error": "unauthorized"}),
        ("DELETE", "/api/user/keys/x", 401, {"error": "unauthorized"}),
        (
            "POST",
            "/api/experimental/web_search",
            403,
            {"error": "ollama cloud is disabled: web search is unavailable"},
        ),
        ("POST", "/api/experimental/web_fetch", 403, {"error": "ollama cloud is disabled: web fetch is unavailable"}),
        ("GET", "/api/experimental/model-recommendations", 200, {"recommendations": []}),
    ],
)
async def test_there_is_no_cloud(api, method, path, status, answer):
    found, _, data = await api.send(method, path)
    assert (found, json.loads(data)) == (status, answer)


async def test_cloud_models_are_not_shown(api):
    assert await api.error("/api/show", {"model": "big:cloud"}) == (
        403,
        "ollama cloud is disabled: remote model details are unavailable",
    )
