"""Models with LoRA adapters, through a real server."""

import hashlib
import threading

import pytest
from support.lora import adapter
from support.service import running_service
from support.tiny_model import write_tiny_model

GREEDY = {"temperature": 0}


@pytest.fixture
def service(tmp_path):
    with running_service(tmp_path / "models", OLLAMA_NUM_PARALLEL="8") as service:
        yield service


def test_models_with_adapters_over_one_base_share_a_runner(service, tmp_path):
    base = write_tiny_model(tmp_path / "base.gguf", seed=7)
    service.create("base", base)
    prompt = {"prompt": "in the thin", "raw": True, "options": {**GREEDY, "num_predict": 12}}
    for i, kind in enumerate(("one", "two")):
        path, _ = adapter(tmp_path / f"{kind}.gguf", 4, seed=i)
        digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        assert service.request("POST", f"/api/blobs/{digest}", path.read_bytes())[0] == 201
        service.lines("/api/create", {"model": kind, "from": "base", "adapters": {"a.gguf": digest}})
        assert f"ADAPTER {service.store}" in service.json("POST", "/api/show", {"model": kind})["modelfile"]
    names = ["base", "one", "two"] * 3
    answers = {}

    def ask(i, name):
        body = {**prompt, "model": name, "stream": False}
        answers[i] = service.json("POST", "/api/generate", body)["response"]

    threads = [threading.Thread(target=ask, args=item) for item in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_name = {name: {answers[i] for i, other in enumerate(names) if other == name} for name in names}
    assert all(len(texts) == 1 for texts in by_name.values()), "whatever else runs, an answer is the same"
    assert len(set.union(*by_name.values())) == 3, "and each model has its own"
    lines = {line["name"].split(":")[0]: line for line in service.json("GET", "/api/ps")["models"]}
    assert lines.keys() == by_name.keys(), "each is loaded"
    adapters = [(tmp_path / f"{kind}.gguf").stat().st_size for kind in ("one", "two")]
    sizes = sorted(line["size"] for line in lines.values())
    assert sizes[0] < 2 * max(adapters), "and the memory of the weights is counted once"
    assert sizes[1] < 2 * max(adapters) < sizes[2]
    service.lines("/api/generate", {"model": "two", "keep_alive": 0})
    assert service.json("GET", "/api/ps")["models"] == [], "they go together"
    status, answer = service.request("POST", "/api/embed", {"model": "one", "input": "x"})
    assert status == 400
    assert b"adapter" in answer
