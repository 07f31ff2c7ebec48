"""Pictures through the whole service with real processes: decoder, runner, tiny models with projectors."""

import base64
import contextlib
import json
import os
import subprocess
import sys

import ollama
import pytest
from support.service import running_service
from support.tiny_model import HIDDEN, SPECIALS, write_tiny_model
from support.vision import N_ROWS, png, write_tiny_projector

from gristmill.runtime import open_model
from gristmill.runtime.params import Sampling

OPTIONS = {"temperature": 0, "num_predict": 6, "num_ctx": 1024}
ARCHITECTURES = {"gemma3": "gemma3", "idefics3": "llama", "mlp": "llama"}
MARKS = ("<start_of_image>", "<end_of_image>", "<fake_token_around_image>", "<global-img>")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """By kind: the weights and the projector."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    for kind, architecture in ARCHITECTURES.items():
        specials = (*SPECIALS, *MARKS)
        text = write_tiny_model(
            folder / f"{kind}.gguf", context=1024, architecture=architecture, specials=specials, seed=len(kind)
        )
        found[kind] = text, write_tiny_projector(folder / f"mmproj-{kind}.gguf", kind, HIDDEN)
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder / "models", GRISTMILL_BACKEND="cpu") as service:
        for kind, paths in files.items():
            recipe = folder / f"Modelfile-{kind}"
            recipe.write_text("".join(f"FROM {path}\n" for path in paths))
            assert _gristmill(service, "create", kind, "-f", str(recipe)).returncode == 0
        yield service


@pytest.fixture
def client(service):
    client = ollama.Client(host=service.url)
    with contextlib.closing(client._client):
        yield client


def _gristmill(service, *arguments, **options):
    env = {**os.environ, "OLLAMA_HOST": service.url, "HOME": str(service.store.parent)}
    command = [sys.executable, "-m", "gristmill", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_a_model_made_of_two_files_sees(service, client, files, kind):
    """The answer is that of the model opened in this process; chat, streamed and not, and twice the same."""
    shown = client.show(kind)
    assert "vision" in shown.capabilities
    picture = png(30, 30, 5)
    plain = client.generate(kind, "what is it?", options=OPTIONS)
    seen = client.generate(kind, "what is it?", images=[picture], options=OPTIONS)
    assert seen.prompt_eval_count >= plain.prompt_eval_count + N_ROWS[kind]
    text, projector = files[kind]
    model = open_model(text, backend="cpu", projector=projector, n_ctx=1024)
    prompt = "<|im_start|>user\n[img-0]what is it?<|im_end|>\n<|im_start|>assistant\n"
    ours = "".join(p.text for p in model.generate(prompt, Sampling(temperature=0, max_tokens=6), images=[picture]))
    assert seen.response == ours
    message = {"role": "user", "content": "what is it?", "images": [picture]}
    again = [part.message.content for part in client.chat(kind, [message], stream=True, options=OPTIONS)]
    assert "".join(again) == ours


def test_the_same_picture_is_found_in_the_cache_and_another_one_is_not(service):
    def ask(seed):
        image = base64.b64encode(png(30, 30, seed)).decode()
        body = {"model": "gemma3", "prompt": "cached?", "images": [image], "stream": False, "options": OPTIONS}
        return service.json("POST", "/api/generate", body)

    first, second, other = ask(11), ask(11), ask(12)
    assert second["response"] == first["response"]
    assert second["prompt_cached_count"] > first.get("prompt_cached_count", 0)
    assert other.get("prompt_cached_count", 0) < second["prompt_cached_count"]


@pytest.mark.parametrize(("data", "error"), [(b"nothing", "unsupported image format"), (png()[:-60], "damaged")])
def test_what_is_no_picture_is_one_clear_line(service, data, error):
    body = {"model": "mlp", "prompt": "x", "images": [base64.b64encode(data).decode()]}
    status, answer = service.request("POST", "/api/generate", body)
    assert status == 400
    assert error in json.loads(answer)["error"]


def test_openai_and_anthropic_count_the_tokens_of_pictures(service):
    image = base64.b64encode(png(30, 30, 3)).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    content = [{"type": "text", "text": "what?"}, part]
    body = {"model": "mlp", "max_tokens": 4, "messages": [{"role": "user", "content": content}]}
    usage = service.json("POST", "/v1/chat/completions", body)["usage"]
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "what?"}]}]
    other = service.json("POST", "/v1/messages", {"model": "mlp", "max_tokens": 4, "messages": messages})["usage"]
    assert usage["prompt_tokens"] > N_ROWS["mlp"]
    assert other["input_tokens"] > N_ROWS["mlp"]


def test_the_command_line_takes_a_picture_by_its_path(service, tmp_path):
    (tmp_path / "cat.png").write_bytes(png(30, 30, 7))
    done = _gristmill(service, "run", "idefics3", "what is this ./cat.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Added image 'cat.png'" in done.stderr
    bad = tmp_path / "dog.png"
    bad.write_bytes(png(30, 30, 7)[:-60])
    done = _gristmill(service, "run", "idefics3", "what is this ./dog.png", cwd=tmp_path)
    assert done.returncode == 1
    assert "images[0]: the PNG image is damaged or cut off" in done.stderr


def test_a_projector_of_an_unknown_type_leaves_the_text(service, files, tmp_path):
    text, _ = files["mlp"]
    strange = write_tiny_projector(tmp_path / "mmproj.gguf", "mlp", HIDDEN, projector_type="resampler")
    recipe = tmp_path / "Modelfile"
    recipe.write_text(f"FROM {text}\nFROM {strange}\n")
    assert _gristmill(service, "create", "strange", "-f", str(recipe)).returncode == 0
    body = {"model": "strange", "prompt": "x", "stream": False, "options": OPTIONS}
    assert service.json("POST", "/api/generate", body)["done"]
    body["images"] = [base64.b64encode(png()).decode()]
    status, data = service.request("POST", "/api/generate", body)
    assert status == 400
    assert 'clip.projector_type: "resampler" is not supported' in json.loads(data)["error"]
