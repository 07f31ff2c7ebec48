"""What stands between a family's call tags, read into calls. Each reader raises ValueError for what is broken."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from .base import Call, Tools
from .values import declared, required, value_of

_XML_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>", re.DOTALL)
_XML_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>", re.DOTALL)
_GLM_PAIR = re.compile(r"\s*<arg_key>([^<]*)</arg_key>\s*<arg_value>", re.DOTALL)
_FENCE = re.compile(r"\s*```(?:json)?\s*\n?")


def json_object(text: str) -> dict[str, Any]:
    """``text`` as a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def json_call(body: str, _: Tools) -> list[Call]:
    """``{"name": ..., "arguments": {...}}``; ``parameters`` is the other spelling, and arguments may be JSON text."""
    call = json_object(body)
    arguments = call.get("arguments", call.get("parameters")) or {}
    if isinstance(arguments, str):
        arguments = json_object(arguments)
    if not isinstance(call.get("name"), str) or not call["name"] or not isinstance(arguments, dict):
        raise ValueError("a call needs a name, and arguments that are an object")
    return [Call(call["name"], arguments)]


def xml_call(body: str, tools: Tools) -> list[Call]:
    """``<function=NAME>``, then ``<parameter=KEY>`` value ``</parameter>`` for each argument, ``</function>``."""
    found = _XML_FUNCTION.match(body)
    if not found:
        raise ValueError("no <function=...>")
    name, at = found[1].strip(), found.end()
    types, arguments = declared(tools, name), {}
    while parameter := _XML_PARAMETER.match(body, at):
        end = body.find("</parameter>", parameter.end())
        if end < 0:
            raise ValueError("no </parameter>")
        key, text = parameter[1].strip(), body[parameter.end() : end]
        arguments[key] = value_of(text.removeprefix("\n").removesuffix("\n"), types.get(key))
        at = end + len("</parameter>")
    if body[at:].strip() not in ("</function>", ""):
        raise ValueError("no </function>")
    return [Call(name, arguments)]


def glm_call(body: str, tools: Tools) -> list[Call]:
    """The name, then pairs of ``<arg_key>`` and ``<arg_value>``."""
    first = body.find("<arg_key>")
    name, at = (body if first < 0 else body[:first]).strip(), first
    if not name or "<" in name:
        raise ValueError("no name")
    types, arguments = declared(tools, name), {}
    while at >= 0 and (pair := _GLM_PAIR.match(body, at)):
        end = body.find("</arg_value>", pair.end())
        if end < 0:
            raise ValueError("no </arg_value>")
        arguments[pair[1].strip()] = value_of(body[pair.end() : end], types.get(pair[1].strip()))
        at = end + len("</arg_value>")
    if at >= 0 and body[at:].strip():
        raise ValueError("text behind the arguments")
    return [Call(name, arguments)]


def glm_unclosed(body: str, tools: Tools) -> list[Call]:
    """A call whose closing tag is missing counts, if its tool is there and has all that it needs."""
    (call,) = glm_call(body, tools)
    needed = required(tools, call.name)
    if needed is None or any(name not in call.arguments for name in needed):
        raise ValueError("the call is not whole")
    return [call]


def laguna_call(body: str, tools: Tools) -> list[Call]:
    return json_call(body, tools) if body.lstrip().startswith("{") else glm_call(body, tools)


def deepseek_calls(body: str, _: Tools) -> list[Call]:
    """Any number of: call begin, name, separator, JSON, call end."""
    calls = []
    for part in body.split("<｜tool▁call▁begin｜>")[1:]:
        name, separator, text = part.partition("<｜tool▁sep｜>")
        if not separator:
            raise ValueError("no separator")
        calls.append(Call(name.strip(), json_object(text.partition("<｜tool▁call▁end｜>")[0])))
    return calls


def cogito_calls(body: str, tools: Tools) -> list[Call]:
    """As DeepSeek's, but the word "function" stands before the separator, and JSON in a code fence after the name."""
    calls = []
    for part in body.split("<｜tool▁call▁begin｜>")[1:]:
        _function, separator, text = part.partition("<｜tool▁sep｜>")
        name, newline, rest = text.partition("\n")
        if not separator or not newline:
            raise ValueError("no separator, or no line with the name")
        json_text = _FENCE.sub("", rest.partition("<｜tool▁call▁end｜>")[0], count=1)
        calls.append(Call(name.strip(), json_object(json_text.rpartition("```")[0] or json_text)))
    return calls


def python_calls(body: str, _: Tools) -> list[Call]:
    """``f(a="x", b=1)``, one on a line or in a list. Only literals; nothing is evaluated."""
    if len(body) > 64 << 10:
        raise ValueError("too long")
    try:
        tree = ast.parse(body.strip(), mode="exec")
    except (SyntaxError, MemoryError) as error:
        raise ValueError(f"no Python: {error}") from None
    nodes: list[ast.expr] = []
    for statement in tree.body:
        if not isinstance(statement, ast.Expr):
            raise ValueError("not a call")
        value = statement.value
        nodes += value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return [_python_call(node) for node in nodes]


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("not a call with named arguments")
    arguments = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("** is no argument")
        arguments[keyword.arg] = _literal(keyword.value)
    return Call(ast.unparse(node.func), arguments)


def _literal(node: ast.expr) -> Any:
    names = {"true": True, "false": False, "null": None}
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {str(_literal(k)): _literal(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    value = ast.literal_eval(node)
    if isinstance(value, bytes | set | complex):
        raise ValueError("no JSON value")
    return value


def cohere_calls(body: str, _: Tools) -> list[Call]:
    """A JSON list of ``{"tool_call_id": ..., "tool_name": ..., "parameters": {...}}``."""
    listed = json.loads(body)
    calls = []
    for item in listed if isinstance(listed, list) else [listed]:
        if not isinstance(item, dict) or not isinstance(item.get("tool_name"), str):
            raise ValueError("no tool_name")
        calls.append(Call(item["tool_name"], item.get("parameters") or {}))
    return calls


def mistral_calls(body: str, tools: Tools) -> list[Call]:
    """A JSON list of calls, or one of them."""
    listed = json.loads(body)
    return [call for item in (listed if isinstance(listed, list) else [listed]) for call in _as_call(item, tools)]


def _as_call(item: Any, tools: Tools) -> list[Call]:
    return json_call(json.dumps(item), tools)
