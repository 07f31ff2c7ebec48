"""What the client commands import, each in an interpreter of its own."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "aiohttp", "jinja2", "tokenizers", "gguf", "safetensors", "rich")
SCRIPT = """
import json, sys
from gristmill.api.cli import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(name for name in sys.modules if "." not in name)]))
"""


def imported_by(*argv):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    status, names = json.loads(result.stdout.splitlines()[-1])
    assert status == 0, result.stderr
    return set(names)


@pytest.mark.parametrize("argv", [("list",), ("ps",), ("show", "smollm2"), ("stop", "smollm2"), ("--version",)])
def test_a_client_command_imports_next_to_nothing(server, argv):
    names = imported_by(*argv)
    assert names.isdisjoint((*HEAVY, "msgspec", "prompt_toolkit", "asyncio"))


@pytest.mark.parametrize("argv", [("run", "smollm2", "hi"), ("doctor",)])
def test_no_command_but_serve_imports_the_engine(server, argv):
    assert os.environ["OLLAMA_HOST"] == server.address
    assert imported_by(*argv).isdisjoint((*HEAVY, "prompt_toolkit"))


def test_usage_needs_no_client():
    assert imported_by().isdisjoint((*HEAVY, "http", "ssl", "msgspec"))
