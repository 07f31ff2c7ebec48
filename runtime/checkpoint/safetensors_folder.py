"""A folder as Hugging Face publishes models: config.json, safetensors in one file or in shards, tokenizer.json.

Its checkpoint looks like that of a GGUF file: GGUF's names, keys and conventions.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import InvalidFile, cut
from .base import Checkpoint, Value
from .families import family_of
from .hf_config import config_metadata, with_defaults
from .hf_family import Family
from .hf_sentence import DENSE_FOLDERS, pooling_metadata
from .hf_special import chat_template, special_metadata
from .hf_tensors import Sources, make_recipes
from .hf_tokenizer import tokenizer_metadata
from .hf_wordpiece import tokenizer_of_word_list
from .limits import DEFAULT_LIMITS, Limits
from .mapped import MappedFile
from .safetensors_header import malformed, read_entries
from .strict_json import Fields, parse
from .transforms import Recipe

if TYPE_CHECKING:
    import torch

__all__ = ["SafetensorsCheckpoint", "read_folder_metadata"]

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.safetensors")
# general.file_type (llama.h, enum llama_ftype) by the format of most weights
_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32, "MXFP4": 38}


class SafetensorsCheckpoint(Checkpoint):
    """Raises InvalidFile ``invalid safetensors: <part>: <reason>``, or UnsupportedModel naming what is unsupported."""

    kind = "safetensors"

    def __init__(self, folder: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS):
        root = Path(folder)
        config, family = _read_config(root, limits)
        metadata = _metadata(root, config, family, limits)
        self._files: list[MappedFile] = []
        try:
            sources = self._open(root, limits) | self._open_dense(root, family, limits)
            self._recipes = make_recipes(sources, config, family, metadata)
        except BaseException:
            self.close()
            raise
        self.tensors = MappingProxyType({name: recipe.info for name, recipe in self._recipes.items()})
        self.metadata = MappingProxyType(metadata | _file_type(self._recipes))

    def raw(self, name: str) -> memoryview:
        return self._recipes[name].raw()

    def tensor(self, name: str) -> torch.Tensor:
        return self._recipes[name].tensor()

    def release(self, name: str) -> None:
        pass  # most tensors are made when they are read, some of them from parts that others need, too

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _open(self, root: Path, limits: Limits) -> Sources:
        """Every tensor of every shard by its own name."""
        if (root / _SINGLE).exists():
            return self._read_shard(root, _SINGLE, limits)
        if not (root / _INDEX).exists():
            raise malformed("folder", f"has neither {_SINGLE} nor {_INDEX}")
        index = _read_json(root, _INDEX, limits.tokenizer_bytes)
        homes = index.fields("weight_map").data
        shards = _shard_names(index, limits)
        absent = [shard for shard in shards if not (root / shard).exists()]
        if absent:
            raise malformed(_INDEX, f"{cut(absent[0])} is not in the folder")
        sources: Sources = {}
        for shard in shards:
            found = self._read_shard(root, shard, limits)
            for name in found:
                if homes.get(name) != shard:
                    raise malformed(_INDEX, f"does not say that tensor {cut(name)} is in {cut(shard)}")
            sources |= found
        missing = homes.keys() - sources.keys()
        if missing:
            raise malformed(_INDEX, f"tensor {cut(min(missing))} is not in the file it names")
        _check_total_size(index, sources)
        return sources

    def _open_dense(self, root: Path, family: Family, limits: Limits) -> Sources:
        """The layers behind the pooling, each in a folder of its own, which its tensors' names get in front."""
        sources: Sources = {}
        for folder in DENSE_FOLDERS if family.architecture == "gemma-embedding" else ():
            if (root / folder).exists():
                found = self._read_shard(root, f"{folder}/{_SINGLE}", limits)
                sources |= {f"{folder}/{name}": source for name, source in found.items()}
        return sources

    def _read_shard(self, root: Path, name: str, limits: Limits) -> Sources:
        file = MappedFile(root / name)
        self._files.append(file)
        return {tensor: (file, entry) for tensor, entry in read_entries(file, limits).items()}


def read_folder_metadata(folder: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Mapping[str, Value]:
    """GGUF's keys for a model folder, without a look at its weights. Raises as ``SafetensorsCheckpoint`` does."""
    root = Path(folder)
    return MappingProxyType(_metadata(root, *_read_config(root, limits), limits))


def _read_config(root: Path, limits: Limits) -> tuple[Fields, Family]:
    """config.json with the defaults of its class, and the class."""
    family, config = family_of(_read_json(root, "config.json", limits.config_bytes))
    return with_defaults(config, family), family


def _metadata(root: Path, config: Fields, family: Family, limits: Limits) -> dict[str, Value]:
    metadata = config_metadata(config, family) | pooling_metadata(_sentence_files(root, limits), family.architecture)
    settings = _read_optional_json(root, "tokenizer_config.json", limits.config_bytes)
    template = chat_template(settings, _read_optional_text(root, "chat_template.jinja", limits.config_bytes))
    if template is not None:
        metadata["tokenizer.chat_template"] = template
    tokenizer = _tokenizer(root, settings, limits)
    if tokenizer is None:
        return metadata
    values = tokenizer_metadata(tokenizer, config.integer("vocab_size"), limits)
    configs = (_read_optional_json(root, "generation_config.json", limits.config_bytes), config)
    tokens = values["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list), "tokenizer_metadata makes a list"
    return metadata | values | special_metadata(settings, configs, tokenizer, tokens)


def _tokenizer(root: Path, settings: Fields, limits: Limits) -> Fields | None:
    """tokenizer.json, or what an older folder has instead: a list of word pieces."""
    if (root / "tokenizer.json").exists():
        return _read_json(root, "tokenizer.json", limits.tokenizer_bytes)
    words = _read_optional_text(root, "vocab.txt", limits.tokenizer_bytes)
    return None if words is None else tokenizer_of_word_list(words, settings)


def _sentence_files(root: Path, limits: Limits) -> dict[str, Fields]:
    """The small files by which sentence-transformers says what follows the model; those that are there."""
    names = ("1_Pooling/config.json", *(f"{folder}/config.json" for folder in DENSE_FOLDERS))
    return {name: _read_json(root, name, limits.config_bytes) for name in names if (root / name).exists()}


def _shard_names(index: Fields, limits: Limits) -> list[str]:
    """Plain names of files in the folder, each once."""
    names = index.fields("weight_map").data.values()
    for name in names:
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            raise malformed(_INDEX, f"{cut(name)} is not the name of a safetensors file in the folder")
    shards = sorted(set(names))
    if not 0 < len(shards) <= limits.n_shards:
        raise malformed(_INDEX, f"names {len(shards)} files, not 1 to {limits.n_shards}")
    return shards


def _check_total_size(index: Fields, sources: Sources) -> None:
    metadata = index.fields("metadata")
    if metadata.has("total_size"):
        total = sum(entry.end - entry.begin for _, entry in sources.values())
        if metadata.number("total_size") != total:
            raise malformed(_INDEX, f"total_size is {cut(metadata.data['total_size'])}, the tensors have {total} bytes")


def _file_type(recipes: Mapping[str, Recipe]) -> dict[str, Value]:
    sizes: Counter[str] = Counter()
    for recipe in recipes.values():
        sizes[recipe.info.format.name] += recipe.info.n_bytes
    most = max(sizes, key=lambda name: sizes[name], default="")
    return {"general.file_type": _FILE_TYPES[most]} if most in _FILE_TYPES else {}


def _read_optional_json(root: Path, name: str, limit: int) -> Fields:
    return _read_json(root, name, limit) if (root / name).exists() else Fields({}, name, malformed)


def _read_json(root: Path, name: str, limit: int) -> Fields:
    return Fields(parse(_read_text(root, name, limit), name, malformed), name, malformed)


def _read_optional_text(root: Path, name: str, limit: int) -> str | None:
    return _read_text(root, name, limit) if (root / name).exists() else None


def _read_text(root: Path, name: str, limit: int) -> str:
    try:
        file = MappedFile(root / name)
    except InvalidFile as error:
        raise malformed(name, str(error).removeprefix(f'"{name}" ')) from None
    try:
        if file.size > limit:
            raise malformed(name, f"{file.size} bytes are over the limit of {limit}")
        return str(file.data, "utf-8")
    except UnicodeDecodeError:
        raise malformed(name, "is not UTF-8") from None
    finally:
        file.close()
