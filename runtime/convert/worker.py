"""The process that converts: one job from standard input, progress on standard output.

``python -m gristmill.runtime.convert.worker``. It ends when the job does, or with whoever started it. The target is
written and synced under the name that the job gives it; a job that fails leaves it behind for its owner to remove.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..checkpoint import Checkpoint, open_checkpoint, read_metadata
from ..errors import GristmillError
from ..quantize.file_types import find_file_type
from ..quantize.model import QuantizationPlan, plan_conversion, plan_quantization, quantize_file
from .adapter import convert_adapter
from .jobs import AdapterJob, ConvertJob, Failure, Job, MergeJob, Progress, QuantizeJob, Reply

_EVERY_S = 0.1


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s converter: %(message)s")
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run(job)
    except GristmillError as error:
        _say(Failure(str(error), type(error).__name__))
        return 1
    except MemoryError:
        _say(Failure("not enough memory to convert the model", "OutOfMemory"))
        return 1
    except OSError as error:
        _say(Failure(f"cannot write the model: {(error.strerror or 'input/output error').lower()}", "GristmillError"))
        return 1
    return 0


def run(job: Job) -> None:
    """Raises GristmillError, OSError."""
    with open(job.target, "xb") as file:
        _write(job, file)
        file.flush()
        os.fsync(file.fileno())


def _write(job: Job, file: BinaryIO) -> None:
    if isinstance(job, AdapterJob):
        return convert_adapter(Path(job.source), read_metadata(job.base), file)
    with open_checkpoint(job.source) as checkpoint:
        report = _Report()
        quantize_file(checkpoint, file, _plan(job, checkpoint), on_progress=lambda _, done, total: report(done, total))
    return None


def _plan(job: ConvertJob | MergeJob | QuantizeJob, checkpoint: Checkpoint) -> QuantizationPlan:
    if isinstance(job, ConvertJob):
        return plan_conversion(checkpoint)
    return plan_quantization(checkpoint, find_file_type(job.file_type) if isinstance(job, QuantizeJob) else None)


class _Report:
    """Says how far a job is, not too often, and always at its end."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _EVERY_S or done == total:
            self._said = now
            _say(Progress(done, total))


def _say(reply: Reply) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    """Its end of the pipe closes when it dies, or gives up."""
    while os.read(sys.stdin.fileno(), 1 << 16):  # not the buffer: its lock would be in the way of our own exit
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
