"""Manifests from and to a registry. What comes is checked as a whole before anything follows from it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from gristmill.runtime.errors import InvalidRequest

from ..store import Digest, Layer, Manifest, MediaType, parse_digest
from ..store.digests import digest_of
from ..store.manifests import decode_manifest
from .client import RegistryClient, raise_for_status
from .errors import Refused, RegistryError, Stalled, Transient, Unreachable
from .retry import Tries
from .transport import Answer, read_limited, within

__all__ = ["ReceivedManifest", "fetch_manifest", "send_manifest"]

_TENSOR = "application/vnd.ollama.image.tensor"
_NO_MLX = "this model requires MLX support, but the MLX runtime is not available"
_ATTEMPTS = 3  # a user is waiting


@dataclass(frozen=True)
class ReceivedManifest:
    """``data`` are the registry's bytes, which the store keeps unchanged."""

    manifest: Manifest
    data: bytes

    @property
    def blobs(self) -> list[Layer]:
        """Layers in order, then the config; each digest once."""
        return list({blob.digest: blob for blob in self.manifest.blobs}.values())


async def fetch_manifest(client: RegistryClient) -> ReceivedManifest:
    """Raises RegistryError ``pull model manifest: ...``."""
    tries = Tries(client.limits, _ATTEMPTS)
    try:
        while True:
            try:
                return await _fetch(client)
            except (Unreachable, Stalled):
                raise
            except Transient as error:
                await tries.after(error)
    except Refused as error:
        raise RegistryError(f"pull model manifest: {'file does not exist' if error.status == 404 else error}") from None
    except RegistryError as error:
        raise RegistryError(f"pull model manifest: {error}") from error


async def _fetch(client: RegistryClient) -> ReceivedManifest:
    limits, url = client.limits, client.repository.manifest
    wait = within(limits.document_s, "the manifest")
    async with wait, client.ask("GET", url, {"Accept": MediaType.MANIFEST}) as (answer, _):
        await raise_for_status(answer, limits)
        if answer.status != 200:
            raise RegistryError(f"{answer.status}: not an answer to this question")
        data = await read_limited(answer, limits.manifest_bytes, "the manifest")
        _check_digest(answer, data)
    return ReceivedManifest(_checked(data, limits.config_bytes), data)


def _check_digest(answer: Answer, data: bytes) -> None:
    named = answer.headers.get("Docker-Content-Digest", "")
    try:
        wanted = parse_digest(named)
    except InvalidRequest:
        return  # none, or made with another function
    if wanted != digest_of(data):
        raise RegistryError(f"its digest is {digest_of(data)}, the registry says {wanted}")


def _checked(data: bytes, config_bytes: int) -> Manifest:
    try:
        manifest = decode_manifest(data)
    except ValueError as error:
        raise RegistryError(f"not a manifest of a model: {error}") from None
    if manifest.media_type != MediaType.MANIFEST:
        raise RegistryError(f"not a manifest of a model: mediaType is {manifest.media_type[:80]!r}")
    if not manifest.layers:
        raise RegistryError("not a manifest of a model: it has no layers")
    if manifest.config.size > config_bytes:
        raise RegistryError(f"the config's {manifest.config.size} bytes are over the limit of {config_bytes}")
    sizes: dict[Digest, int] = {}
    for blob in manifest.blobs:
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            raise RegistryError(f"two sizes for one blob, {blob.digest}")
    if any(layer.media_type == _TENSOR for layer in manifest.layers):
        raise RegistryError(_NO_MLX)
    return manifest


async def send_manifest(client: RegistryClient, data: bytes) -> None:
    """Raises RegistryError ``push manifest: ...``."""

    async def body() -> AsyncIterator[bytes]:
        yield data

    def made() -> AsyncIterable[bytes]:
        return body()

    headers = {"Content-Type": MediaType.MANIFEST, "Content-Length": str(len(data))}
    tries = Tries(client.limits)
    try:
        while True:
            try:
                async with client.ask("PUT", client.repository.manifest, headers, body=made, redirects=False) as (
                    answer,
                    _,
                ):
                    await raise_for_status(answer, client.limits)
                    if answer.status not in (200, 201, 202, 204):
                        raise RegistryError(f"{answer.status}: not an answer to a manifest")
                    return
            except Transient as error:
                await tries.after(error)
    except RegistryError as error:
        raise RegistryError(f"push manifest: {error}") from error
