"""What the handlers share: settings, store, manager, worker processes; and how a request finds its model."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from gristmill.runtime.chat.guard import TextGuard
from gristmill.runtime.chat.renderer import Renderer
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.grammar.checker import GrammarChecker
from gristmill.runtime.images.decoder import ImageDecoder

from .body import BODY_BYTES, BodyBudget, read_json
from .counters import Metrics
from .errors import Forbidden, NotFound, shown
from .manager import Manager
from .readiness import Readiness
from .registry.keypair import key_path
from .registry.limits import Limits
from .registry.transfers import Transfers
from .registry.transport import Transport
from .schema import decode_hook
from .settings import Settings
from .store import Store, StoredModel
from .store.errors import ModelNotFound
from .store.facts import ModelFacts
from .templates import ModelTemplate, Templates, with_capabilities

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")

MAX_GUARDS = 16
MAX_FOUND = 1024
LARGE_BODY_BYTES = 256 << 10


@dataclass(frozen=True)
class Target:
    """The model of one request. ``sent`` is its name as the client wrote it, which answers repeat."""

    sent: str
    model: StoredModel
    facts: ModelFacts
    guard: TextGuard
    template: ModelTemplate


class Service:
    """Lives as long as the server."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        manager: Manager,
        renderer: Renderer,
        grammars: GrammarChecker,
        images: ImageDecoder,
        metrics: Metrics,
    ):
        self.settings, self.store, self.manager = settings, store, manager
        self.renderer, self.grammars, self.images, self.metrics = renderer, grammars, images, metrics
        self.readiness = Readiness(manager, store.root)
        self.started_at = time.monotonic()
        self.bodies = BodyBudget()
        self.templates = Templates(renderer, settings.go_template)
        transport = Transport(Limits(), trusted=frozenset(settings.trusted_hosts))
        self.transfers = Transfers(store, transport, key_path(os.environ))
        self._found: set[str] = set()
        self._guards: dict[Path, TextGuard] = {}
        self._guards_lock = threading.Lock()

    async def find(self, sent: str, not_found: Callable[[str], str]) -> Target:
        """The model that ``sent`` names; files are read outside the event loop.

        Raises NotFound with the text ``not_found(sent)``, InvalidRequest for what is no name, and ModelError
        for a model whose file cannot be read.
        """
        if is_cloud(sent):
            raise Forbidden("ollama cloud is disabled: remote model is unavailable")
        try:
            if sent in self._found:  # little but a few stats is left to do: less than the way into a thread and back
                model, facts, guard = self._find(sent)
            else:
                model, facts, guard = await asyncio.to_thread(self._find, sent)
        except ModelNotFound:
            self._found.discard(sent)
            raise NotFound(not_found(sent)) from None
        if len(self._found) < MAX_FOUND:
            self._found.add(sent)
        template = await self.templates.of(model, facts)
        return Target(sent, model, with_capabilities(model, facts, template), guard, template)

    async def facts(self, model: StoredModel) -> ModelFacts:
        """What is known of a model, with all its capabilities. Raises ModelError for a file that cannot be read."""
        facts = await asyncio.to_thread(model.facts)
        return with_capabilities(model, facts, await self.templates.of(model, facts))

    def _find(self, sent: str) -> tuple[StoredModel, ModelFacts, TextGuard]:
        model = self.store.find(stored_name(sent))
        facts = model.facts()
        return model, facts, self._guard(model.model_path, facts)

    def _guard(self, path: Path, facts: ModelFacts) -> TextGuard:
        guard = self._guards.get(path)
        if guard is None:
            guard = TextGuard(facts.control_tokens)
            with self._guards_lock:
                if len(self._guards) >= MAX_GUARDS:
                    self._guards.pop(next(iter(self._guards)))
                self._guards[path] = guard
        return guard


SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


async def read_request(request: web.Request, kind: type[T]) -> T:
    """The body as a ``kind``. Raises InvalidRequest naming the field, and what ``body.read_json`` raises."""
    return await read_json(request, kind, decode_hook, request.app[SERVICE].bodies)


async def off_loop(request: web.Request, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """``function`` of what was read, in a thread where the body was so large that it would hold up other requests."""
    if request.get(BODY_BYTES, 0) < LARGE_BODY_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def stored_name(sent: str) -> str:
    """``sent`` without white space around it, and without the mark ``:local`` behind a tag."""
    name = sent.strip()
    return name.removesuffix(":local") if name.rpartition("/")[2].count(":") > 1 else name


def is_cloud(name: str) -> bool:
    """Whether a name means a model of Ollama's cloud, which this server does not offer."""
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag == "cloud" or tag.endswith("-cloud")


def single_quoted(name: str) -> str:
    return f"model '{shown(name)}' not found"


def required(name: str) -> str:
    """A model name that must be there. Raises InvalidRequest."""
    if not name:
        raise InvalidRequest("model is required")
    return name
