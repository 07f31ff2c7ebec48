"""The model store: names, blobs, manifests, and what a model says of itself. Knows no HTTP and no tensors' contents."""

from __future__ import annotations

from .blobs import BlobWriter
from .digests import Digest, parse_digest
from .errors import CorruptManifest, ModelNotFound, StoreError
from .facts import ModelFacts
from .manifests import Config, Layer, Manifest, MediaType
from .names import Name
from .store import Store
from .stored_model import StoredModel

__all__ = [
    "BlobWriter",
    "Config",
    "CorruptManifest",
    "Digest",
    "Layer",
    "Manifest",
    "MediaType",
    "ModelFacts",
    "ModelNotFound",
    "Name",
    "Store",
    "StoreError",
    "StoredModel",
    "parse_digest",
]
