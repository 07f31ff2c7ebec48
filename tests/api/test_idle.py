"""A server and a runner that nobody asks for anything rest: they wait, they do not look again and again."""

import os
import sys
import time
from pathlib import Path

import pytest
from support.service import running_service
from support.tiny_model import write_tiny_model

INTERVAL_S = 2.5
SHARE = 0.05
WAKE_UPS = 50  # of one thread, in the interval: looking every 20 ms would be 125

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def cpu_s(pid):
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wake_ups(pid):
    """How often each thread has given up the processor by itself, by thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found[task.name] = int(next(line.split()[1] for line in lines if line.startswith("voluntary_ctxt_switches")))
    return found


def rests(pids):
    """Whether all of ``pids`` rested for an interval."""
    before = {pid: (cpu_s(pid), wake_ups(pid)) for pid in pids}
    time.sleep(INTERVAL_S)
    for pid, (used, woken) in before.items():
        if cpu_s(pid) - used > SHARE * INTERVAL_S:
            return False
        if any(n - woken.get(thread, 0) > WAKE_UPS for thread, n in wake_ups(pid).items()):
            return False
    return True


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_an_idle_server_and_an_idle_runner_rest(tmp_path, backend):
    gguf = write_tiny_model(tmp_path / "tiny.gguf")
    with running_service(tmp_path / "models", GRISTMILL_BACKEND=backend, GRISTMILL_SPARE_RUNNER="1") as service:
        service.create("tiny", gguf)
        service.lines("/api/generate", {"model": "tiny", "prompt": "x", "options": {"num_predict": 2}})
        # What the request has set going, such as the next spare process, may take a while to come to rest.
        assert any(rests([service.process.pid, *service.runner_pids()]) for _ in range(8))
