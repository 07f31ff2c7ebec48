"""The runner: one process that owns one model. Started by ``launch``, speaks ``messages`` on a socket.

The main thread loads the model and runs the engine; a second one reads messages and tokenizes prompts. All of torch's
work stays in one thread, because each thread that computes brings a team of worker threads of its own, and two
teams on the same cores halve the speed. The process ends when it is told to, when its socket closes, and when its
parent dies.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..errors import GristmillError, InvalidRequest, ModelError, UnsupportedModel
from .messages import (
    HEADER_BYTES,
    Abort,
    Count,
    Counted,
    Detokenize,
    Embed,
    Failed,
    FromRunner,
    Load,
    LoadFailed,
    Ping,
    Progress,
    Ready,
    Stats,
    Submit,
    Texted,
    Tokenize,
    Tokenized,
    ToRunner,
    Unload,
    encode_frame,
    frame_length,
)

if TYPE_CHECKING:
    from ..engine import Engine
    from ..model import Model
    from .no_engine import NoEngine

log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_PROGRESS_EVERY_S = 0.05
_READ_BYTES = 64 << 10


class Connection:
    """Blocking frames on a socket; ``send`` may be called from any thread."""

    def __init__(self, sock: socket.socket):
        self._sock = sock
        self._sending = threading.Lock()
        self._decoder = msgspec.msgpack.Decoder(ToRunner)
        self._read = bytearray()

    def send(self, *messages: FromRunner) -> None:
        """Raises OSError when the server has gone."""
        data = encode_frame(messages)
        with self._sending:
            self._sock.sendall(data)

    def receive(self) -> ToRunner | None:
        """The next message, or None when the server has gone. For one thread at a time."""
        header = self._exactly(HEADER_BYTES)
        body = self._exactly(frame_length(header)) if header else b""
        return self._decoder.decode(body) if body else None

    def _exactly(self, n: int) -> bytes:
        """What is there is read at once: most messages are, with their header."""
        while len(self._read) < n:
            chunk = self._sock.recv(_READ_BYTES)
            if not chunk:
                return b""
            self._read += chunk
        data = bytes(self._read[:n])
        del self._read[:n]
        return data


class RunnerProcess:
    """Serves one model until it is told to stop."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def run(self) -> None:
        _import_ahead()
        message = self.connection.receive()
        if not isinstance(message, Load):
            return
        try:
            self._load(message)
        except GristmillError as error:
            self.connection.send(LoadFailed(error=str(error), kind=type(error).__name__))
            return
        except MemoryError:
            self.connection.send(LoadFailed(error="not enough memory to load the model", kind="OutOfMemory"))
            return
        threading.Thread(target=self._read_messages, name="messages", daemon=True).start()
        self._run_engine()

    def _load(self, load: Load) -> None:
        started = time.monotonic_ns()
        import torch

        from gristmill.kernels.cpu.cores import physical_cores

        from ..embedding_input import EmbeddingInput
        from ..model import open_model
        from .embedding import EmbeddingWork
        from .no_engine import NoEngine

        n_threads = load.num_thread or physical_cores()
        torch.set_num_threads(n_threads)
        open_one = partial(
            open_model, backend=load.backend, n_ctx=load.num_ctx, kv_type=load.kv_type, n_threads=n_threads
        )
        model = open_one(load.path, on_progress=self._progress_sender())
        no_pictures = _open_projector(model, load.projector)
        draft = open_one(load.draft) if load.draft else None
        if model.ops.own_threads:
            # Little is left to torch, and two teams on the same cores slow each other down.
            torch.set_num_threads(1)
        self.engine: Engine | NoEngine
        if model.generates:
            self.engine = model.engine(
                n_slots=load.n_slots, n_contexts=load.n_contexts, token_budget=load.num_batch, draft=draft
            )
        else:
            self.engine = NoEngine(model.tokenizer, model.n_ctx, model.only_embeds)
        self.embedding = EmbeddingWork(model.embedder(load.num_batch), EmbeddingInput(model.tokenizer, model.n_ctx))
        self.connection.send(
            Ready(
                n_ctx=model.n_ctx,
                n_vocab=model.tokenizer.n_vocab,
                architecture=model.architecture,
                memory_bytes=resident_bytes(),
                weight_bytes=model.weight_bytes,
                kv_bytes=self.engine.kv_bytes,
                load_ns=time.monotonic_ns() - started,
                backend=model.ops.name,
                preparation=model.vision.preparation if model.vision else None,
                no_pictures=no_pictures,
            )
        )

    def _progress_sender(self) -> Callable[[int, int], None]:
        last = 0.0

        def send(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PROGRESS_EVERY_S or done == total:
                last = now
                self.connection.send(Progress(done=done, total=total))

        return send

    def _run_engine(self) -> None:
        """Until the server has gone. What goes wrong here ends the process: every request in flight is told."""
        while True:
            events = [*self.engine.step(wait=self.embedding.idle), *self.embedding.step()]
            if events:
                self.connection.send(*events)

    def _read_messages(self) -> None:
        try:
            while (message := self.connection.receive()) is not None and not isinstance(message, Unload):
                self._handle(message)
        except OSError:
            pass  # the server has gone
        except BaseException:
            log.exception("messages can no longer be read")
            os._exit(1)
        os._exit(0)  # nothing to save, and tearing down torch's threads takes a while

    def _submit(self, message: Submit | Embed) -> None:
        if isinstance(message, Submit):
            self.engine.submit(
                message.id,
                message.prompt,
                message.sampling,
                message.context,
                truncate=message.truncate,
                progress=message.progress,
                adapters=message.adapters,
                pictures=message.pictures,
            )
        else:
            self.embedding.submit(message)
            self.engine.wake()

    def _handle(self, message: ToRunner) -> None:
        if isinstance(message, Submit | Embed):
            try:
                self._submit(message)
            except (InvalidRequest, ModelError) as error:  # the latter of an adapter
                self.connection.send(Failed(id=message.id, error=str(error), kind=type(error).__name__))
            except Exception:
                log.exception("request %s could not be prepared", message.name or message.id)
                self.connection.send(Failed(id=message.id, error="the prompt could not be tokenized"))
        elif isinstance(message, Count | Tokenize | Detokenize):
            self.connection.send(self._in_tokens(message))
        elif isinstance(message, Abort):
            self.engine.abort(message.id)
            self.embedding.abort(message.id)
        elif isinstance(message, Ping):
            self.connection.send(self._stats())

    def _in_tokens(self, message: Count | Tokenize | Detokenize) -> Counted | Tokenized | Texted | Failed:
        tokenizer = self.engine.read_prompt.tokenizer
        match message:
            case Count(id=i, text=text):
                return Counted(id=i, n_tokens=self.engine.read_prompt.count(text))
            case Tokenize(id=i, text=text):
                ids = tokenizer.encode(text, add_special=message.add_special, parse_special=message.parse_special)
                return Tokenized(id=i, ids=ids, pieces=[tokenizer.token_bytes(t, skip_special=False) for t in ids])
            case Detokenize(id=i, ids=ids):
                try:
                    tokenizer.check_ids(ids)
                except InvalidRequest as error:
                    return Failed(id=i, error=str(error), kind=type(error).__name__)
                return Texted(id=i, text=tokenizer.decode(ids, skip_special=False))

    def _stats(self) -> Stats:
        counts = msgspec.structs.asdict(self.engine.stats())
        counts["running"] += self.embedding.n_jobs
        counts["steps"] += self.embedding.n_passes
        return Stats(memory_bytes=resident_bytes(), **counts)


def _open_projector(model: Model, path: str) -> str:
    """Why the model cannot look at pictures, if it cannot: its text is good all the same."""
    if not path:
        return "it has no projector"
    try:
        model.open_projector(path)
    except (InvalidRequest, UnsupportedModel) as error:
        log.warning("images are refused: %s", error)
        return str(error)
    return ""


def _import_ahead() -> None:
    """The slow imports, most of a small model's loading time, while nobody waits for them."""
    with contextlib.suppress(ImportError):  # ``Load`` is answered with the error
        from .. import model  # noqa: F401


def resident_bytes() -> int:
    """Memory of this process that is in RAM; the peak where the system does not tell the present value."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="gristmill runner")
    parser.add_argument("fd", type=int, help="the socket inherited from the server")
    args = parser.parse_args()
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when a runner ends
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s runner: %(message)s")
    with socket.socket(fileno=args.fd) as sock, contextlib.suppress(OSError):
        RunnerProcess(Connection(sock)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
