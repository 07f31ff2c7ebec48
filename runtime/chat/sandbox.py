"""The Jinja environment that chat templates run in: what Hugging Face's offers, and nothing that reaches further.

Templates come with model files, so they are untrusted. Attributes and filters are allow-lists, there is no
loader, and single operations that blow up a small input (a repeat, a power, a width) are refused. Growth by many
small steps is not seen here: ``renderer`` runs templates where time and memory are limited.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace

MAX_REPEAT = 1 << 20  # items or characters that `*` may make
MAX_INT_BITS = 4096
MAX_WIDTH = 10_000  # of formats, indents, centred text, batches
MAX_CLOCK_FORMAT = 64


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILTERS = _names(
    "abs capitalize count d default dictsort e escape first float groupby int items join last length list lower map "
    "max min reject rejectattr replace reverse safe select selectattr sort string sum title trim truncate unique "
    "upper urlencode wordcount"
)
_BOUNDED_FILTERS = _names("batch center indent round slice wordwrap")
_STRING_METHODS = _names(
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric "
    "isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex "
    "rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
)
_LOOP_ATTRIBUTES = _names(
    "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0"
)
_ATTRIBUTES: tuple[tuple[type, frozenset[str]], ...] = (
    (str, _STRING_METHODS),
    (dict, _names("copy get items keys values")),
    (list, _names("copy count index")),
    (tuple, _names("count index grouper list")),  # the last two are groupby's
    (LoopContext, _LOOP_ATTRIBUTES),
    (Cycler, _names("current next reset")),
)
# One conversion of printf-style formatting. A key with brackets inside it is not looked into: `rest` refuses it.
_CONVERSION = re.compile(r"%(\([^()]*\))?[#0\- +]*(?P<width>\*|\d+)?(\.(?P<precision>\*|\d+))?(?P<rest>\()?")


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment per template. Raises jinja2's errors, ``SecurityError`` for what is refused."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
        self.filters = {name: FILTERS[name] for name in _FILTERS}
        self.filters |= {name: _bounded(FILTERS[name]) for name in _BOUNDED_FILTERS}
        self.filters |= {"format": _format, "tojson": _to_json}
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
        del self.globals["lipsum"]

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, Namespace):  # holds only what the template put there
            return True
        return any(isinstance(obj, kind) and attr in names for kind, names in _ATTRIBUTES)

    def wrap_str_format(self, value: Any) -> None:
        """``str.format`` is not on the list; jinja's stand-in for it, which knows no limit of width, is not needed."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%":
            _check_format(left)
        else:
            _check_growth(operator, left, right)
        return super().call_binop(context, operator, left, right)


class _GenerationTag(Extension):
    """``{% generation %}`` marks the assistant's turns for training. Here it only groups."""

    tags = {"generation"}  # noqa: RUF012 - declared so by the base class

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=lineno)


def _check_growth(operator: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        bits = bits * abs(right) if operator == "**" else bits + right.bit_length()
        if bits > MAX_INT_BITS:
            raise SecurityError(f"{operator} makes a number of more than {MAX_INT_BITS} bits")
    for items, count in ((left, right), (right, left)):
        if isinstance(items, str | list | tuple) and isinstance(count, int) and len(items) * count > MAX_REPEAT:
            raise SecurityError(f"{operator} makes more than {MAX_REPEAT} items")


def _check_format(template: Any) -> None:
    if not isinstance(template, str):
        return
    for match in _CONVERSION.finditer(template):
        sizes = (match["width"], match["precision"])
        if match["rest"] or any(size and (size == "*" or len(size) > 4) for size in sizes):
            raise SecurityError("a width or key of the format is refused")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # keeps jinja's marks, which say what it passes first
    def checked(*args: Any, **kwargs: Any) -> Any:
        for value in (*args[1:], *kwargs.values()):
            if isinstance(value, int) and abs(value) > MAX_WIDTH:
                raise SecurityError(f"a size of {value} is over the limit of {MAX_WIDTH}")
        return function(*args, **kwargs)

    return checked


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    _check_format(value)
    return str(FILTERS["format"](value, *args, **kwargs))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as in Python, and not escaped for HTML as jinja's own filter does it."""
    if isinstance(indent, int) and indent > MAX_WIDTH:
        raise SecurityError(f"an indent of {indent} is over the limit of {MAX_WIDTH}")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _strftime_now(format: str) -> str:
    if len(format) > MAX_CLOCK_FORMAT:
        raise SecurityError(f"a clock format is over the limit of {MAX_CLOCK_FORMAT} characters")
    return datetime.now().strftime(format)
