"""What is asked of the converting process, and what it says: one JSON object per line."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["AdapterJob", "ConvertJob", "Failure", "Job", "MergeJob", "Progress", "QuantizeJob", "Reply"]


class ConvertJob(Struct, tag="convert", frozen=True):
    """A folder of safetensors, or any other checkpoint, into ``target``, as 16-bit floats."""

    source: str
    target: str


class MergeJob(Struct, tag="merge", frozen=True):
    """The parts beside ``source`` into ``target``."""

    source: str
    target: str


class AdapterJob(Struct, tag="adapter", frozen=True):
    """A PEFT folder into ``target``, for the model file ``base``."""

    source: str
    base: str
    target: str


class QuantizeJob(Struct, tag="quantize", frozen=True):
    """A GGUF file into ``target``; ``file_type`` is a name of ``runtime.quantize``."""

    source: str
    target: str
    file_type: str


Job = ConvertJob | MergeJob | AdapterJob | QuantizeJob


class Progress(Struct, tag="progress", frozen=True):
    """``done`` of ``total`` bytes of the source."""

    done: int
    total: int


class Failure(Struct, tag="failure", frozen=True):
    """The last line of a job that failed. ``kind`` is a class of ``runtime.errors``."""

    error: str
    kind: str


Reply = Progress | Failure
