"""Modelfiles: text to a ``Modelfile`` and back. Knows no files: what a FROM names is for the caller to find out.

Lines ``INSTRUCTION arguments``. A value that starts with a double quote runs, over line ends, to a line that ends
with one; three quotes work the same. There are no escapes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gristmill.runtime.errors import InvalidRequest, cut

from .parameters import RETIRED, parse_parameter

__all__ = ["Modelfile", "format_value", "parse_modelfile", "scalar_text"]

_INSTRUCTIONS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
_COMMAND_ERROR = "command must be one of " + ", ".join(f'"{i}"' for i in _INSTRUCTIONS[:-1]) + ', or "requires"'
_ROLE_ERROR = 'message role must be one of "system", "user", or "assistant"'
_LINE = re.compile(r"[ \t]*([A-Za-z]+)[ \t]+(.*)", re.DOTALL)
_SUFFIX = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(rf"v?(0|[1-9]\d*)(\.(0|[1-9]\d*)){{0,2}}(-{_SUFFIX})?(\+{_SUFFIX})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline; a file from Windows has \r
_QUOTES = ('"""', '"')


@dataclass
class Modelfile:
    """What a Modelfile says. Texts are empty where it does not say anything.

    ``sources`` are the FROM lines, in order. ``parameters``: ``stop`` is a list. ``warnings`` are for the user.
    """

    sources: list[str] = field(default_factory=list)
    adapter: str = ""
    draft: str = ""
    template: str = ""
    system: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    licenses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Text that parses to the same, as far as a text without escapes can say it."""
        lines = [("FROM", source) for source in self.sources[:1]]
        lines += [("ADAPTER", self.adapter), ("DRAFT", self.draft)]
        lines += [("FROM", source) for source in self.sources[1:]]
        lines += [("TEMPLATE", self.template), ("SYSTEM", self.system)]
        lines += [("RENDERER", self.renderer), ("PARSER", self.parser), ("REQUIRES", self.requires)]
        texts = [f"{instruction} {format_value(value)}\n" for instruction, value in lines if value]
        for name, value in self.parameters.items():
            values = value if isinstance(value, list) else [value]
            texts += [f"PARAMETER {name} {format_value(scalar_text(v))}\n" for v in values]
        texts += [f"LICENSE {format_value(text)}\n" for text in self.licenses]
        texts += [f"MESSAGE {m['role']} {format_value(m['content'])}\n" for m in self.messages]
        return "".join(texts)


def parse_modelfile(data: bytes | str) -> Modelfile:
    """Raises InvalidRequest with Ollama's texts, most with the number of the line."""
    file = Modelfile()
    for instruction, word, value in _commands(_decoded(data)):
        _apply(file, instruction, word, value)
    if not file.sources:
        raise InvalidRequest("no FROM line")
    return file


def scalar_text(value: object) -> str:
    """A parameter's value: ``true``, ``0.7``, ``1`` for 1.0, a string as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def format_value(text: str) -> str:
    """``text`` as a value: quoted where it would not survive otherwise."""
    if not re.search(r"\A\s|\s\Z|\n|\A\"", text):
        return text
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def _decoded(data: bytes | str) -> str:
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest("the Modelfile is not a text in UTF-8") from None


def _commands(text: str) -> Iterator[tuple[str, str, str]]:
    """(instruction in lower case, name or role, value)."""
    lines = enumerate(text.split("\n"), 1)
    for number, line in lines:
        if not line.strip() or line.lstrip(" \t").startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        instruction, rest, word = (match[1].lower(), match[2].strip(), "") if match else ("", "", "")
        if instruction not in _INSTRUCTIONS or not rest:
            raise InvalidRequest(f"(line {number}): {_COMMAND_ERROR}")
        if instruction in ("parameter", "message"):
            word, rest = [*rest.split(maxsplit=1), ""][:2]
        if instruction == "message" and word not in ("system", "user", "assistant"):
            raise InvalidRequest(f"(line {number}): {_ROLE_ERROR}")
        if not rest:
            raise InvalidRequest(f"(line {number}): {instruction} {cut(word)} has no value")
        yield instruction, word, _value(rest, lines)


def _value(text: str, lines: Iterator[tuple[int, str]]) -> str:
    """The value that begins with ``text``; the lines it goes on over are taken from ``lines``."""
    quote = next((q for q in _QUOTES if text.startswith(q)), "")
    parts = [text]
    while quote and not (parts[-1].rstrip().endswith(quote) and (len(parts) > 1 or len(text) >= 2 * len(quote))):
        _, line = next(lines, (0, None))
        if line is None:
            raise InvalidRequest("unexpected EOF")
        parts.append(line)
    value = "\n".join(parts).rstrip()
    return _CONTROL.sub("", value[len(quote) : len(value) - len(quote)])


def _apply(file: Modelfile, instruction: str, word: str, value: str) -> None:
    match instruction:
        case "from":
            file.sources.append(value)
        case "license":
            file.licenses.append(value)
        case "message":
            file.messages.append({"role": word, "content": value})
        case "parameter" if word in RETIRED:
            file.warnings.append(f"warning: parameter {word} is deprecated")
        case "parameter" if word == "stop":
            file.parameters.setdefault("stop", []).append(value)
        case "parameter":
            file.parameters[word] = parse_parameter(word, value)
        case "requires" if not _SEMVER.fullmatch(value):
            raise InvalidRequest("requires must be a valid semver (e.g. 0.14.0)")
        case _:
            setattr(file, instruction, value)
