"""See ``langchain_suite``."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain_tests")
pytest.importorskip("langchain_ollama")

SUITE = Path(__file__).with_name("langchain_suite.py")


def test_langchains_standard_tests(clerk, tmp_path):
    environment = {**os.environ, "SERVER_URL": clerk.url}
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    options = ["-q", "-ra", "-c", "pytest.ini", "--noconftest", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:unraisableexception", str(SUITE)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    report = run.stdout[-6000:] + run.stderr[-2000:]
    assert run.returncode == 0, report
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed, report
    assert int(passed[1]) > 30, report
