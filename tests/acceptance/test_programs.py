"""Clients that are run as programs, because they leave things open or keep state: LiteLLM, and the tool ``llm``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(command, **environment):
    whole = {**os.environ, **environment}
    done = subprocess.run(command, env=whole, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_litellm(clerk):
    pytest.importorskip("litellm")
    suite = Path(__file__).with_name("litellm_suite.py")
    environment = {"SERVER_URL": clerk.url, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    assert run([sys.executable, str(suite)], **environment).endswith("ok\n")


def test_llm(clerk, tmp_path):
    pytest.importorskip("llm_ollama")
    environment = {"OLLAMA_HOST": clerk.url, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": "llm-ollama"}
    llm = [sys.executable, "-m", "llm"]
    assert "scripted" in run([*llm, "ollama", "models"], **environment)
    model = ["-m", "ollama/scripted"]
    said = run([*llm, *model, "Hello there"], **environment)
    assert "Hello there" in said
    assert "more" in run([*llm, "-c", "Tell me more"], **environment)
    schema = "name, age int"
    assert '"age": 5' in run([*llm, *model, "--schema", schema, "5 years"], **environment)
