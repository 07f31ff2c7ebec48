"""A model opened in this process: what a notebook scripts against, and what a runner process serves from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import torch

from gristmill.kernels.ops import Ops, open_ops

from .checkpoint import Checkpoint, open_checkpoint
from .config import Metadata
from .embedding import Embedder
from .embedding_input import EmbeddingInput
from .engine import Engine
from .errors import GristmillError, InvalidRequest, UnsupportedModel, cut
from .events import Failed, Piece
from .images.decode import decode
from .images.wire import Picture
from .kv_cache import PAGE_SIZE, KVCache
from .layers import Decoder, Pooling
from .lora import Adapter, Adapters
from .models import Network, build_model
from .params import Sampling
from .speculative import DraftModel
from .states import StatePool, n_snapshots
from .step import Forward, Span
from .tokenizer import Tokenizer, tokenizer_from_metadata
from .vision.sight import Vision, open_vision
from .weights import Weights

OnProgress = Callable[[int, int], None]


class Model:
    """A loaded model. Not safe for use from several threads at once; an ``Engine`` is, see there."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: Network,
        pooling: Pooling,
        ops: Ops,
        adapters: Adapters,
        *,
        n_ctx: int,
        kv_type: str,
    ):
        self.vision: Vision | None = None
        self.adapters = adapters
        self._named_adapters: dict[str, Adapter] = {}
        self._checkpoint, self.network, self.pooling, self.ops = checkpoint, network, pooling, ops
        self.n_ctx, self.kv_type = n_ctx, kv_type

    @property
    def generates(self) -> bool:
        """Whether it continues text; every model makes embeddings."""
        return self.network.causal

    @property
    def decoder(self) -> Decoder:
        """Raises InvalidRequest for a model that makes embeddings only."""
        if isinstance(self.network, Decoder) and self.generates:
            return self.network
        raise InvalidRequest(self.only_embeds)

    @property
    def only_embeds(self) -> str:
        """What to say where such a model is asked for text."""
        return f"a model of architecture {self.architecture} does not generate text, it makes embeddings"

    @property
    def architecture(self) -> str:
        return self.network.config.architecture

    @property
    def weight_bytes(self) -> int:
        return sum(weight.n_bytes for weight in self.ops.weights)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Raises InvalidFile or UnsupportedModel where the file's vocabulary cannot be used."""
        return tokenizer_from_metadata(self._checkpoint.metadata)

    def open_projector(self, path: str | os.PathLike[str]) -> None:
        """Read the file with which the model looks at pictures. Raises InvalidFile; UnsupportedModel where it cannot be
        run, or is another model's."""
        config = self.decoder.config
        self.vision = open_vision(path, self.ops, architecture=self.architecture, hidden_size=config.hidden_size)

    def load_adapter(self, path: str | os.PathLike[str]) -> str:
        """Read a LoRA adapter; returns its name, for ``adapters`` of the methods below. Several may be loaded.

        It stays until ``unload_adapter``. Raises UnsupportedModel where it is another model's, InvalidFile.
        """
        name = os.fspath(path)
        loaded = self.adapters.acquire([name])
        if name in self._named_adapters:
            self.unload_adapter(name)
        self._named_adapters[name] = loaded
        return name

    def unload_adapter(self, name: str) -> None:
        """What ``load_adapter`` has loaded may go, once no request uses it. Raises InvalidRequest for another name."""
        if name not in self._named_adapters:
            raise InvalidRequest(f"adapter {cut(os.path.basename(name))} is not loaded")
        self.adapters.release(self._named_adapters.pop(name))

    def logits(self, ids: Sequence[int], *, adapters: Sequence[str] = ()) -> torch.Tensor:
        """Logits float32 (len(ids), n_vocab) at every position. Raises InvalidRequest for ids that do not fit.

        ``adapters`` are names of loaded adapters or files; what several add is added up.
        """
        bad = [token for token in ids if not 0 <= token < self.decoder.n_vocab]
        if bad or not 0 < len(ids) <= self.n_ctx:
            what = f"token id {bad[0]} is outside the vocabulary" if bad else f"{len(ids)} ids do not fit"
            raise InvalidRequest(f"{what}: 1 to {self.n_ctx} ids below {self.decoder.n_vocab} are possible")
        forward = self.forward(1)
        pages = list(range(forward.cache.n_pages))
        span = Span(list(ids), 0, pages, all_logits=True)
        if not adapters:
            return forward([span])
        adapter = self.adapters.acquire(adapters)
        try:
            return forward([replace(span, adapter_id=adapter.id)])
        finally:
            self.adapters.release(adapter)

    def generate(
        self,
        prompt: str | list[int],
        sampling: Sampling | None = None,
        *,
        adapters: Sequence[str] = (),
        images: Sequence[bytes] = (),
    ) -> Iterator[Piece]:
        """Continue ``prompt``. ``images`` are files of pictures, which stand where it says ``[img-N]``, from 0 on.

        Raises InvalidRequest for a prompt that does not fit and images that cannot be used, GristmillError on failure.
        """
        engine = self.engine(n_slots=1)
        pictures = [self._decoded(data) for data in images]
        engine.submit(0, prompt, sampling or Sampling(), [], adapters=tuple(adapters), pictures=pictures)
        try:
            while True:
                for event in engine.step():
                    if isinstance(event, Piece):
                        yield event
                    elif isinstance(event, Failed):
                        raise GristmillError(event.error)
                    else:
                        return
        finally:
            engine.abort(0)  # who stops reading gives the adapter back, too
            engine.step()

    def _decoded(self, data: bytes) -> Picture:
        if self.vision is None:
            raise InvalidRequest("the model cannot look at images: it was opened without a projector")
        return decode(data, self.vision.preparation)

    def embed(
        self, inputs: str | Sequence[str] | Sequence[Sequence[int]], *, normalize: bool = True, truncate: bool = False
    ) -> torch.Tensor:
        """Vectors float32 (n, dim) of texts, or of lists of token ids, in their order; one text is a list of one.

        ``normalize``: of length 1, except a reranker's scores. ``truncate``: what is longer than the context loses its
        end. Raises InvalidRequest for an input that is too long, empty or outside the vocabulary.
        """
        values = [inputs] if isinstance(inputs, str) else inputs
        read = EmbeddingInput(self.tokenizer, self.n_ctx)
        return self.embedder()([read(value, truncate=truncate) for value in values], normalize=normalize)

    def embedder(self, token_budget: int = 512) -> Embedder:
        """Makes vectors of token ids, ``token_budget`` tokens in one pass."""
        return Embedder(self.network, self.pooling, token_budget=token_budget)

    def engine(
        self,
        *,
        n_slots: int,
        n_contexts: int = 0,
        token_budget: int = 512,
        reuse_prefixes: bool = True,
        draft: Model | None = None,
        max_drafted: int = 1,
    ) -> Engine:
        """An engine for ``n_slots`` sequences at once; its KV cache holds ``n_contexts`` full contexts (0: as many).

        With fewer contexts than slots, sequences that grow long make others start again later. ``draft`` is a smaller
        model that guesses tokens, for up to ``max_drafted`` sequences at once. Raises UnsupportedModel where its
        vocabulary is another one.
        """
        states = self._states(n_slots, reuse_prefixes)
        return Engine(
            self.forward(n_contexts or n_slots, states.n_rows),
            self.tokenizer,
            n_ctx=self.n_ctx,
            token_budget=token_budget,
            max_running=n_slots,
            reuse_prefixes=reuse_prefixes,
            drafter=None if draft is None else draft._drafter_for(self),
            max_drafted=max_drafted,
            states=states,
            vision=self.vision,
        )

    def _states(self, n_slots: int, reuse_prefixes: bool) -> StatePool:
        """Rows for what is kept of sequences beside pages, and for snapshots."""
        n_bytes = 4 * sum(layer.state_elements for layer in self.decoder.kept)
        if not n_bytes:
            return StatePool(0, 0)
        return StatePool(n_slots, n_snapshots(n_bytes) if reuse_prefixes else 0)

    def _drafter_for(self, target: Model) -> DraftModel:
        if self.tokenizer.vocabulary.tokens != target.tokenizer.vocabulary.tokens:
            raise UnsupportedModel("the draft model has another vocabulary than the model; it cannot guess its tokens")
        if any(layer.states for layer in self.decoder.kept):
            raise UnsupportedModel(
                f"a model of architecture {self.architecture} cannot guess tokens: it cannot take back what it has read"
            )
        return DraftModel(self.forward(2), self.ops.top_k, self.n_ctx)

    def explain(self) -> str:
        """Which form each weight has in memory and which function serves each operator used so far."""
        return self.ops.explain()

    def forward(self, n_contexts: int, n_states: int = 1) -> Forward:
        """The model with a cache of its own for ``n_contexts`` full contexts, and ``n_states`` states of sequences."""
        n_pages = n_contexts * -(-self.n_ctx // PAGE_SIZE)
        cache = KVCache.allocate(self.decoder.kept, n_pages, self.kv_type, self.ops.device, n_states=n_states)
        return Forward(self.decoder, cache, self.n_ctx, self.adapters)


def open_model(
    path: str | os.PathLike[str],
    *,
    backend: str = "auto",
    device: str = "cpu",
    n_ctx: int = 0,
    kv_type: str = "f16",
    n_threads: int = 0,
    projector: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Model:
    """Open a GGUF file or a safetensors folder. ``n_ctx`` 0, and more than it was trained on, is the trained context.

    ``projector`` is the file of what looks at pictures for the model.
    ``n_threads`` 0: as many as this process has physical cores. ``on_progress(done, total)`` counts bytes of weights.
    Raises InvalidFile for malformed files, UnsupportedModel for what cannot be run, and InvalidRequest for an
    unknown ``backend`` or ``kv_type``.
    """
    try:
        ops = open_ops(backend, device, n_threads=n_threads)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    return open_with(ops, path, n_ctx=n_ctx, kv_type=kv_type, projector=projector, on_progress=on_progress)


def open_with(
    ops: Ops,
    path: str | os.PathLike[str],
    *,
    n_ctx: int = 0,
    kv_type: str = "f16",
    projector: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Model:
    """As ``open_model``, to compute with ``ops``."""
    checkpoint = open_checkpoint(path)
    meta = Metadata(checkpoint.metadata)
    trained = meta.count("context_length", high=1 << 31)
    n_ctx = min(n_ctx, trained) if n_ctx > 0 else trained
    weights = Weights(checkpoint, ops, on_progress)
    network, pooling = build_model(meta, weights, n_ctx)
    model = Model(checkpoint, network, pooling, ops, weights.adapters, n_ctx=n_ctx, kv_type=kv_type)
    if projector is not None:
        model.open_projector(projector)
    return model
