"""Which files a path in a Modelfile stands for: one file, or of a folder the weights and what goes with them."""

from __future__ import annotations

from pathlib import Path

from gristmill.runtime.errors import GristmillError, cut

# The first pattern that matches anything gives the weights (Ollama's order, without the pickled formats, which
# can run code when they are read).
_WEIGHTS = (("model*.safetensors", "*/model*.safetensors"), ("consolidated*.safetensors",), ("*.gguf",))
_COMPANIONS = ("*.json", "*/*.json", "chat_template.jinja", "tokenizer.model", "*/tokenizer.model")


def looks_like_path(text: str) -> bool:
    """Whether a file is meant whatever exists: no model name begins so."""
    return text.startswith(("/", "./", "../", "~")) or text in (".", "..") or "\\" in text


def files_of(path: Path) -> dict[str, Path]:
    """Relative name -> file. Raises GristmillError for a folder without weights or with links that leave it."""
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise GristmillError(f"{cut(str(path))} does not exist")
    weights = next((found for patterns in _WEIGHTS if (found := _matches(path, patterns))), [])
    if not weights:
        raise GristmillError(f"no Modelfile or safetensors files found in {cut(str(path))}")
    companions = [] if weights[0].suffix == ".gguf" else _matches(path, _COMPANIONS)
    return {file.relative_to(path).as_posix(): _inside(path, file) for file in (*weights, *companions)}


def _matches(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())


def _inside(folder: Path, file: Path) -> Path:
    """``file``, which must not be a link to somewhere else: what is uploaded is what the folder holds."""
    if not file.resolve().is_relative_to(folder.resolve()):
        hint = "; download the model with --local-dir to get files instead of links"
        raise GristmillError(f"insecure path: {cut(file.relative_to(folder).as_posix())} leads out of its folder{hint}")
    return file
