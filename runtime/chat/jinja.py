"""One chat template: source in, ``render(data)`` out, every failure a ``TemplateError``.

Bounds the size of the source and of the output. Knows no clock: a template that loops for hours does so here;
``renderer`` runs this where it can be killed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jinja2
import msgspec

from ..errors import TemplateError
from .sandbox import Sandbox

MAX_SOURCE = 1 << 20  # characters
MAX_OUTPUT = 16 << 20  # characters
MAX_MESSAGE = 200


class JinjaTemplate:
    """A template in Hugging Face's dialect, in an immutable sandbox without loader.

    Raises TemplateError if ``source`` is longer than MAX_SOURCE or does not compile.
    """

    def __init__(self, source: str):
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"template of {len(source)} characters is over the limit of {MAX_SOURCE}")
        self.source = source
        with _as_template_error():
            self._template = Sandbox().from_string(source)

    def render(self, data: Mapping[str, Any]) -> str:
        """The text for ``data``, which passes through JSON, so that templates see plain values only.

        Raises TemplateError if the template fails, or makes more than MAX_OUTPUT characters or more than
        8 times the data plus 1 Mi characters.
        """
        with _as_template_error():
            encoded = msgspec.json.encode(data)
        return self.render_json(encoded)

    def render_json(self, data: bytes | msgspec.Raw) -> str:
        """Like ``render``, for an object that is JSON text already."""
        limit = min(MAX_OUTPUT, 8 * len(memoryview(data)) + (1 << 20))
        with _as_template_error():
            return "".join(_limited(self._template.generate(msgspec.json.decode(data)), limit))


def _limited(pieces: Iterator[str], limit: int) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise TemplateError(f"template output is over the limit of {limit} characters")
        yield piece


@contextmanager
def _as_template_error() -> Iterator[None]:
    """Turns whatever a template can raise into one line that says what went wrong."""
    try:
        yield
    except TemplateError:
        raise
    except MemoryError:
        raise TemplateError("template ran out of memory") from None
    except RecursionError:
        raise TemplateError("template is nested too deeply") from None
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"template error: line {error.lineno}: {_one_line(error.message)}") from None
    except jinja2.TemplateError as error:
        raise TemplateError(f"template error: {_one_line(error.message)}") from None
    except Exception as error:
        raise TemplateError(f"template error: {type(error).__name__}: {_one_line(str(error))}") from None


def _one_line(message: str | None) -> str:
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join((message or "no reason given").split()))
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
