"""Embedding inside a runner process: texts of all requests in a row, one pass through the model at a time.

Between two passes the engine does a step, so that streams go on while many texts are embedded.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from ..embedding import NOT_FINITE, Embedder, normalized
from ..errors import InvalidRequest
from .messages import Embed, Embedded, Failed

if TYPE_CHECKING:
    from ..embedding_input import EmbeddingInput

log = logging.getLogger(__name__)

Text = tuple["Job", int]  # whose, and which of its texts


@dataclass(eq=False)
class Job:
    """One request: its texts as token ids, and the vectors of those that are done."""

    id: int
    texts: list[list[int]]
    normalize: bool = True
    vectors: dict[int, torch.Tensor] = field(default_factory=dict)


class EmbeddingWork:
    """``submit`` and ``abort`` may come from any thread; ``step`` belongs to the thread that computes."""

    def __init__(self, embedder: Embedder, read: EmbeddingInput):
        self.embedder, self.read = embedder, read
        self._inbox: queue.SimpleQueue[Job | int] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}
        self._waiting: list[Text] = []
        self._batch: list[Text] = []
        self._passes: Generator[None, None, torch.Tensor] | None = None
        self.n_passes = 0  # since the start: who looks on sees that the work goes on

    @property
    def n_jobs(self) -> int:
        return len(self._jobs) + self._inbox.qsize()

    @property
    def idle(self) -> bool:
        return self._inbox.empty() and not self._jobs

    def submit(self, message: Embed) -> None:
        """Tokenize and queue. Raises what ``EmbeddingInput`` raises; such a request has no other answer."""
        texts = [self._ids(value, message) for value in message.inputs]
        self._inbox.put(Job(message.id, texts, message.normalize))

    def _ids(self, value: str | list[int], message: Embed) -> list[int]:
        if message.query is None or not self.embedder.pooling.is_score:
            return self.read(value, truncate=message.truncate)
        if not isinstance(value, str):
            raise InvalidRequest("documents: a text is needed to show it beside the query")
        return self.read.pair(message.query, value, truncate=message.truncate)

    def abort(self, request_id: int) -> None:
        """Give up a request; what of it is in the present pass is computed and thrown away. Unknown ids are ignored."""
        self._inbox.put(request_id)

    def step(self) -> list[Embedded | Failed]:
        """One pass through the model, if there is work; requests that have come to their end."""
        answers = self._drain()
        if self._passes is None and self._waiting:
            self._begin()
        if self._passes is None:
            return answers
        try:
            self.n_passes += 1
            next(self._passes)
        except StopIteration as stop:
            answers += self._take(stop.value.cpu())
        except Exception:
            log.exception("%d texts could not be embedded", len(self._batch))
            error = "the model failed on this request"
            failed = {job.id: job for job, _ in self._batch if job.id in self._jobs}
            answers += [self._end(job, Failed(id=job.id, error=error)) for job in failed.values()]
            self._passes, self._batch = None, []
        return answers

    def _drain(self) -> list[Embedded | Failed]:
        answers: list[Embedded | Failed] = []
        while not self._inbox.empty():
            item = self._inbox.get()
            if isinstance(item, Job):
                self._jobs[item.id] = item
                self._waiting += [(item, i) for i in range(len(item.texts))]
                answers += [] if item.texts else [self._finish(item)]
            elif item in self._jobs:
                answers.append(self._end(self._jobs[item], Failed(id=item, error="the request was aborted")))
        return answers

    def _begin(self) -> None:
        lengths = [len(job.texts[i]) for job, i in self._waiting]
        n = len(self.embedder.batches(lengths)[0])
        self._batch, self._waiting = self._waiting[:n], self._waiting[n:]
        self._passes = self.embedder.embed([job.texts[i] for job, i in self._batch], normalize=False)

    def _take(self, vectors: torch.Tensor) -> list[Embedded | Failed]:
        answers = []
        for (job, i), vector in zip(self._batch, vectors, strict=True):
            job.vectors[i] = vector
            if len(job.vectors) == len(job.texts) and job.id in self._jobs:
                answers.append(self._finish(job))
        self._passes, self._batch = None, []
        return answers

    def _finish(self, job: Job) -> Embedded | Failed:
        dim = self.embedder.dim
        vectors = torch.empty(len(job.texts), dim)
        for i, vector in job.vectors.items():
            vectors[i] = vector
        bad = (~vectors.isfinite().all(dim=1)).nonzero()
        if len(bad):
            error = f"{NOT_FINITE} (input {int(bad[0])})"
            return self._end(job, Failed(id=job.id, error=error, kind=InvalidRequest.__name__))
        if job.normalize and not self.embedder.pooling.is_score:
            vectors = normalized(vectors)
        data = vectors.numpy().astype("<f4", copy=False).tobytes()
        n_tokens = [len(ids) for ids in job.texts]
        return self._end(job, Embedded(id=job.id, dim=dim, vectors=data, n_tokens=n_tokens))

    def _end(self, job: Job, answer: Embedded | Failed) -> Embedded | Failed:
        """Forget ``job``. A batch that holds nothing else is given up."""
        self._jobs.pop(job.id, None)
        self._waiting = [(other, i) for other, i in self._waiting if other is not job]
        if self._passes is not None and not any(other.id in self._jobs for other, _ in self._batch):
            self._passes.close()
            self._passes, self._batch = None, []
        return answer
