"""The error tree. Nothing else in ``runtime`` raises anything a caller should handle.

    GristmillError
    ├── InvalidRequest        the caller's input is wrong: a bad option, an id outside the vocabulary (4xx)
    │   └── PromptTooLong     the prompt leaves no room in the context
    ├── ModelError            the model cannot be used
    │   ├── InvalidFile       bytes on disk are malformed, "invalid gguf: <part>: <reason>"
    │   ├── OutOfMemory       there is not enough memory for it
    │   └── UnsupportedModel  well-formed, but an architecture, value, tensor or format is not supported
    ├── TemplateError         a chat template failed, or ran over its limits
    ├── OutputError           what a model wrote is no valid tool call
    └── RunnerError           a runner process: did not start, or stopped unexpectedly
        └── RunnerStopped     it died while it was working for us

Messages are one line, start lower-case and name the thing, the value and the way out. They never hold an
absolute path or a traceback: they are shown to clients.
"""

from __future__ import annotations

import errno

_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})


class GristmillError(Exception):
    """Base of all errors that a user can meet."""


class InvalidRequest(GristmillError):
    """The request cannot be served as it is; the message names the field."""


class PromptTooLong(InvalidRequest):
    """The prompt has as many tokens as the context or more, and may not be cut."""


class ModelError(GristmillError):
    """The model cannot be loaded or used."""


class InvalidFile(ModelError):
    """A model file is malformed; the message names the part."""


class OutOfMemory(ModelError):
    """A model needs more memory than there is."""


class UnsupportedModel(ModelError):
    """A model file is well-formed, but asks for something that is not there."""


class TemplateError(GristmillError):
    """A chat template could not be parsed or rendered, or ran over its limits."""


class OutputError(GristmillError):
    """What a model wrote cannot be read as the tool call that it began as; the message quotes it, cut."""


class RunnerError(GristmillError):
    """A runner process could not be started."""


class RunnerStopped(RunnerError):
    """A runner process ended while requests were in flight."""


def is_shortage(error: OSError) -> bool:
    """Whether the machine lacks something for the moment, open files or memory: it says nothing about the file."""
    return error.errno in _SHORTAGES


def named(kind: str, message: str) -> GristmillError:
    """The error of class ``kind``, for messages from another process; the base class where there is none such."""
    cls = globals().get(kind)
    known = isinstance(cls, type) and issubclass(cls, GristmillError)
    return cls(message) if known and cls is not None else GristmillError(message)


def cut(value: object, limit: int = 80) -> str:
    """``value`` as a short, one-line, quoted text for an error message."""
    text = ascii(value) if not isinstance(value, str) else '"' + ascii(value)[1:-1].replace('"', '\\"') + '"'
    return text if len(text) <= limit else text[: limit - 3] + "..."
