"""What the pulls and pushes of one server share: connections, downloads under way, threads, the key."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ..store import Store, StoredModel
from .addresses import Repository
from .client import RegistryClient
from .keypair import KeyPair, load_key_pair
from .progress import Lines
from .pull import pull_model
from .push import push_model
from .shared import Downloads
from .transport import Transport
from .workers import Workers

__all__ = ["Transfers"]


class Transfers:
    """Lives as long as the server; ``close`` it when nothing is under way. ``key`` is the file of the key pair."""

    def __init__(self, store: Store, transport: Transport, key: Path | None = None):
        self._store, self._transport, self._key_path = store, transport, key
        self._workers = Workers()
        self._downloads = Downloads(store, transport.limits, self._workers)

    def pull(self, name: str, *, insecure: bool = False) -> Lines:
        """Progress of pulling the model; nothing happens before it is read. Raises InvalidRequest for no name."""
        client = self._client(Repository.of(name, insecure=insecure))
        return pull_model(self._store, client, self._downloads, self._workers)

    def push(self, model: StoredModel, *, insecure: bool = False) -> Lines:
        """Progress of pushing a model to the registry that its name says."""
        client = self._client(Repository.of(model.name.full, insecure=insecure))
        return push_model(self._store, model, client, self._downloads.verified, self._workers)

    def stop(self) -> None:
        """Pulls that are under way end with an error."""
        self._downloads.stop()

    async def close(self) -> None:
        await self._transport.close()
        self._workers.close()

    def _client(self, repository: Repository) -> RegistryClient:
        return RegistryClient(repository, self._transport, lambda: self._key)

    @cached_property
    def _key(self) -> KeyPair | None:
        return load_key_pair(self._key_path) if self._key_path else None
