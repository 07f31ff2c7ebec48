"""The process that pictures are decoded in: ``python -m gristmill.runtime.images.worker MEMORY_BYTES``.

Reads jobs from standard input until that ends, writes answers to standard output. It may be killed at any time, and
a picture may make it die. Imports Pillow and msgspec, no torch, numpy or aiohttp.
"""

from __future__ import annotations

import msgspec

from ..errors import InvalidRequest
from ..killable.inside import deadline, limit_resources, run, serve
from .decode import decode
from .wire import Answer, Job


def main(memory_bytes: int) -> None:
    """Serves jobs until standard input ends."""
    limit_resources(memory_bytes)
    jobs = msgspec.json.Decoder(Job)

    def answer(body: bytes) -> Answer:
        job = jobs.decode(body)
        with deadline(job.timeout_s):
            try:
                return Answer(picture=decode(job.data, job.preparation))
            except InvalidRequest as error:
                return Answer(error=str(error))
            except ImportError:
                return Answer(error="images cannot be decoded: the package Pillow is not installed")

    serve(answer)


if __name__ == "__main__":
    run(main)
