"""What clients may ask for, as Structs. Types are strict, keys that are not here are ignored, null is not given.

Field names, defaults and error texts are Ollama's. Knows nothing of how a request is answered.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from gristmill.runtime.errors import InvalidRequest, cut

from .durations import parse_keep_alive

__all__ = [
    "ChatRequest",
    "CopyRequest",
    "CreateRequest",
    "DeleteRequest",
    "DetokenizeRequest",
    "EmbedRequest",
    "EmbeddingsRequest",
    "GenerateRequest",
    "KeepAlive",
    "Message",
    "ModelRequest",
    "NamedRequest",
    "PullRequest",
    "PushRequest",
    "RerankRequest",
    "RunRequest",
    "ShowRequest",
    "Think",
    "TokenizeRequest",
    "Tool",
    "ToolCall",
    "decode_hook",
]

Level = Literal["low", "medium", "high", "max"]
TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
_LEVELS: tuple[Level, ...] = ("low", "medium", "high", "max")
_THINK_VALUES = '"high", "medium", "low", "max", true, or false'


class KeepAlive:
    """How long the model stays loaded after the request; inf is forever."""

    # An ordinary class: dataclasses are decoded from objects, without asking ``decode_hook``.
    def __init__(self, seconds: float):
        self.seconds = seconds


class Think:
    """Whether to reason first, or how much."""

    def __init__(self, value: bool | Level):
        self.value = value

    @classmethod
    def parse(cls, value: object) -> Think:
        if isinstance(value, bool):
            return cls(value)
        if not isinstance(value, str):
            raise InvalidRequest(f"think must be a boolean or string ({_THINK_VALUES})")
        for level in _LEVELS:
            if value == level:
                return cls(level)
        raise InvalidRequest(f"invalid think value: {cut(value)} (must be {_THINK_VALUES})")


def decode_hook(kind: type, value: Any) -> Any:
    """Makes the types above from JSON values. Raises InvalidRequest with Ollama's texts."""
    if kind is KeepAlive:
        seconds = parse_keep_alive(value)
        assert seconds is not None, "null fields are left out before"
        return KeepAlive(seconds)
    assert kind is Think
    return Think.parse(value)


class FunctionCall(Struct, omit_defaults=True):
    name: str = ""
    arguments: dict[str, Any] = {}
    index: int = 0


class ToolCall(Struct, omit_defaults=True):
    function: FunctionCall = field(default_factory=FunctionCall)
    id: str = ""


class ToolFunction(Struct, omit_defaults=True):
    """``strict`` (beyond Ollama): a call's arguments are held to ``parameters`` while they are written."""

    name: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool = False


class Tool(Struct):
    type: str = "function"
    function: ToolFunction = field(default_factory=ToolFunction)


class Message(Struct, omit_defaults=True):
    """One turn. Roles are not checked: what a template makes of them is its own business."""

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[ToolCall] = []
    tool_name: str = ""
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        self.role = self.role.lower()

    def as_dict(self) -> dict[str, Any]:
        """For a template: role and content always, the rest where it is there."""
        return {"role": self.role, "content": self.content, **msgspec.to_builtins(self)}


class ModelRequest(Struct, kw_only=True):
    """What everything that uses a model has in common."""

    model: str = ""
    options: dict[str, Any] = {}
    keep_alive: KeepAlive | None = None

    @property
    def keep_alive_s(self) -> float | None:
        return None if self.keep_alive is None else self.keep_alive.seconds


class RunRequest(ModelRequest, kw_only=True):
    """What generate and chat have in common."""

    stream: bool = True
    format: Any = None
    think: Think | None = None
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = field(default=False, name="_debug_render_only")
    # Beyond Ollama:
    logit_bias: dict[str, float] = {}
    progress: bool = False


class GenerateRequest(RunRequest, kw_only=True):
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[TokenId] = []
    raw: bool = False
    images: list[str] = []
    # Beyond Ollama: the prompt as token ids, which are used as they are.
    tokens: list[TokenId] = []


class ChatRequest(RunRequest, kw_only=True):
    messages: list[Message] = []
    tools: list[Tool] = []
    # Beyond Ollama: "auto", "none", "required", or {"type": "function", "function": {"name": ...}}.
    tool_choice: str | dict[str, Any] = "auto"


class EmbedRequest(ModelRequest, kw_only=True):
    """``input`` is a text or a list of texts; beyond Ollama also a list of token ids, or several such lists."""

    input: Any = None
    truncate: bool = True
    dimensions: int = 0


class EmbeddingsRequest(ModelRequest, kw_only=True):
    """The older form: one text."""

    prompt: str = ""


class RerankRequest(ModelRequest, kw_only=True):
    """Beyond Ollama; the fields are those of Jina's and Cohere's services. ``top_n`` 0 is all."""

    query: str = ""
    documents: list[str | RerankDocument] = []
    top_n: Annotated[int, Meta(ge=0)] = 0
    return_documents: bool = False
    truncate: bool = True


class RerankDocument(Struct, kw_only=True):
    text: str


class TokenizeRequest(ModelRequest, kw_only=True):
    """Beyond Ollama. ``content`` and ``prompt`` are llama.cpp's and vLLM's spellings of ``text``."""

    text: str = ""
    content: str = ""
    prompt: str = ""
    add_special: bool = True
    parse_special: bool = False
    with_pieces: bool = False


class DetokenizeRequest(ModelRequest, kw_only=True):
    """Beyond Ollama."""

    tokens: list[TokenId] = []


class NamedRequest(Struct, kw_only=True):
    """``name`` is the deprecated spelling of ``model``."""

    model: str = ""
    name: str = ""

    @property
    def model_name(self) -> str:
        return self.model or self.name


class ShowRequest(NamedRequest, kw_only=True):
    verbose: bool = False
    system: str = ""
    options: dict[str, Any] = {}


class DeleteRequest(NamedRequest, kw_only=True):
    pass


class PullRequest(NamedRequest, kw_only=True):
    """``insecure`` means plain HTTP. Ollama ignores a user's name and password, too."""

    insecure: bool = False
    stream: bool = True
    username: str = ""
    password: str = ""


class PushRequest(PullRequest, kw_only=True):
    pass


class CopyRequest(Struct, kw_only=True):
    source: str = ""
    destination: str = ""


class CreateRequest(NamedRequest, kw_only=True):
    stream: bool = True
    from_: str = field(default="", name="from")
    files: dict[str, str] = {}
    adapters: dict[str, str] = {}
    draft_files: dict[str, str] = {}
    quantize: str = ""
    quantization: str = ""
    draft_quantize: str = ""
    template: str = ""
    system: str = ""
    license: str | list[str] = ""
    parameters: dict[str, Any] = {}
    messages: list[Message] = []
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    info: dict[str, Any] = {}
    remote_host: str = ""
