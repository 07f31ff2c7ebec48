"""Model folders for tests: one as Ollama writes it, and the check that nothing in a folder is broken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from support import gguf_builder as g

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% if m['tool_calls'] %}x{% endif %}{% endfor %}"
LIBRARY = Path("manifests", "registry.ollama.ai", "library")
KINDS = {"model", "template", "params", "system", "license", "messages", "projector"}


def tiny_gguf(*extra: g.KeyValue, architecture: str = "llama", template: str | None = TEMPLATE) -> bytes:
    """A valid file of about a kilobyte: 25 + 32 weights, four tokens, one of them a control token."""
    pairs = [
        g.text("general.architecture", architecture),
        g.text("general.name", "Tiny"),
        g.KeyValue("general.file_type", g.UINT32, g.u32(15)),
        g.KeyValue(f"{architecture}.context_length", g.UINT32, g.u32(512)),
        g.KeyValue(f"{architecture}.embedding_length", g.UINT32, g.u32(64)),
        g.KeyValue(f"{architecture}.norm_eps", g.FLOAT32, g.scalar(g.FLOAT32, 1e-5)),
        g.KeyValue("tokenizer.ggml.tokens", g.ARRAY, g.array(g.STRING, ["a", "<s>", "</s>", "b"])),
        g.KeyValue("tokenizer.ggml.token_type", g.ARRAY, g.array(g.INT32, [1, 3, 3, 1])),
        g.KeyValue("tokenizer.ggml.bos_token_id", g.UINT32, g.u32(1)),
        g.KeyValue("tokenizer.ggml.eos_token_id", g.UINT32, g.u32(2)),
        g.KeyValue("test.empty", g.ARRAY, g.array(g.FLOAT64, [])),
        g.KeyValue("test.nan", g.FLOAT32, g.scalar(g.FLOAT32, float("nan"))),
    ]
    if template is not None:
        pairs.append(g.text("tokenizer.chat_template", template))
    return g.Gguf(key_values=[*pairs, *extra]).build()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def add_blob(root: Path, data: bytes) -> str:
    """Write a blob as another program would; returns its digest."""
    blobs = root / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / f"sha256-{sha256(data)}").write_bytes(data)
    return f"sha256:{sha256(data)}"


def layer(root: Path, kind: str, data: bytes) -> dict[str, Any]:
    media_type = f"application/vnd.ollama.image.{kind}" if kind in KINDS else kind
    return {"mediaType": media_type, "digest": add_blob(root, data), "size": len(data)}


def write_manifest(root: Path, path: str, layers: list[dict[str, Any]], config: dict[str, Any]) -> Path:
    """A manifest at ``path`` below the default library, or below ``manifests/`` where it has more parts."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layer(root, "application/vnd.docker.container.image.v1+json", json.dumps(config).encode()),
        "layers": layers,
    }
    file = root / (LIBRARY / path if path.count("/") == 1 else Path("manifests", path))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(manifest) + "\n")
    return file


def write_ollama_folder(root: Path) -> Path:
    """One complete model, ``Llama3:8B``, as an older Ollama stored it, and ``mattw/Bare``, the weights alone."""
    weights = layer(root, "model", tiny_gguf())
    old_config = {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": None,
        "model_type": "8.0B",
        "file_type": "Q4_0",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
    }
    layers = [
        weights,
        layer(root, "template", b"{{ .Prompt }} {{ .Response }}"),
        layer(root, "system", "Sei höflich.".encode()),
        layer(root, "params", b'{"num_ctx":8192,"stop":["<|eot_id|>","a\\"b"],"temperature":0.7}'),
        layer(root, "license", b"First"),
        layer(root, "license", b"Second\nline"),
        layer(root, "messages", b'[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]'),
        layer(root, "application/vnd.example.unknown", b"kept"),
    ]
    write_manifest(root, "Llama3/8B", layers, old_config)
    write_manifest(root, "registry.ollama.ai/mattw/Bare/latest", [weights], {"model_format": "gguf"})
    return root


def problems(root: Path) -> list[str]:
    """What is wrong with a folder: nothing published may be torn, nothing temporary may be left."""
    found = []
    for blob in (root / "blobs").glob("*"):
        if blob.name.startswith(".tmp-") or blob.name != f"sha256-{sha256(blob.read_bytes())}":
            found.append(f"blob {blob.name}")
    for path in (root / "manifests").rglob("*"):
        if path.is_dir():
            continue
        manifest = json.loads(path.read_text())
        for part in (manifest["config"], *manifest["layers"]):
            blob = root / "blobs" / part["digest"].replace(":", "-")
            if not blob.is_file() or blob.stat().st_size != part["size"]:
                found.append(f"{path.name}: {part['digest']}")
    found += [f"scratch {path.name}" for path in (root / "tmp").glob("*")]
    return found
