"""JavaScript clients, where Node and their packages are: ``npm install`` in tests/acceptance/node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("node")
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").exists(),
    reason="no Node packages: npm install --prefix tests/acceptance/node",
)


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.mjs")))
def test_a_client_is_content(clerk, script):
    assert NODE is not None
    environment = {**os.environ, "SERVER_URL": clerk.url}
    run = subprocess.run([NODE, script], cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert run.stdout.endswith("ok\n")
