"""What the native endpoints answer, as types. Keys that are left out where they are empty have a default here."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

Nanoseconds = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class Error(Struct, kw_only=True):
    """One line that names what is wrong, and where it helps, the way out."""

    error: str


class OpenAIErrorFields(Struct, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(Struct, kw_only=True):
    error: OpenAIErrorFields


class AnthropicErrorFields(Struct, kw_only=True):
    type: str
    message: str


class AnthropicError(Struct, kw_only=True):
    type: str
    error: AnthropicErrorFields
    request_id: str


class ModelObject(Struct, kw_only=True):
    id: str
    object: str
    created: int
    owned_by: str


class ModelList(Struct, kw_only=True):
    object: str
    data: list[ModelObject]


class InputTokens(Struct, kw_only=True):
    input_tokens: int


class Details(Struct, kw_only=True):
    parent_model: str
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str
    context_length: int = 0
    embedding_length: int = 0


class Listed(Struct, kw_only=True):
    """``size`` bytes of all layers, ``digest`` of the manifest."""

    name: str
    model: str
    modified_at: str
    size: Count
    digest: str
    details: Details
    capabilities: list[str] = []


class Tags(Struct, kw_only=True):
    models: list[Listed]


class LoadProgress(Struct, kw_only=True):
    completed: Count
    total: Count


class Loaded(Struct, kw_only=True):
    """``size`` bytes in memory, of which ``size_vram`` on a GPU."""

    name: str
    model: str
    size: Count
    digest: str
    details: Details
    expires_at: str
    size_vram: Count
    context_length: Count
    loading: LoadProgress | None = None


class Ps(Struct, kw_only=True):
    models: list[Loaded]


class Health(Struct, kw_only=True):
    """``uptime`` in seconds."""

    status: str
    uptime: float


class Readiness(Struct, kw_only=True):
    status: str
    reasons: list[str] = []


class Version(Struct, kw_only=True):
    version: str


class Cloud(Struct, kw_only=True):
    disabled: bool
    source: str


class Status(Struct, kw_only=True):
    cloud: Cloud


class Recommendations(Struct, kw_only=True):
    recommendations: list[str]


class ShownMessage(Struct, kw_only=True):
    role: str
    content: str


class ShownTensor(Struct, kw_only=True):
    name: str
    type: str
    shape: list[int]


class Shown(Struct, kw_only=True):
    modelfile: str = ""
    details: Details
    model_info: dict[str, Any]
    modified_at: str
    license: str = ""
    parameters: str = ""
    template: str = ""
    system: str = ""
    messages: list[ShownMessage] = []
    projector_info: dict[str, Any] = {}
    tensors: list[ShownTensor] = []
    capabilities: list[str] = []
    requires: str = ""


class Logprob(Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] = []
    top_logprobs: list[Logprob] = []


class ReadingProgress(Struct, kw_only=True):
    prompt_eval_completed: Count
    prompt_eval_total: Count


class DebugInfo(Struct, kw_only=True):
    rendered_template: str
    image_count: int = 0


class CalledFunction(Struct, kw_only=True):
    index: int
    name: str
    arguments: dict[str, Any]


class Called(Struct, kw_only=True):
    function: CalledFunction
    id: str = ""


class AnswerMessage(Struct, kw_only=True):
    role: str
    content: str
    thinking: str = ""
    tool_calls: list[Called] = []


class _Line(Struct, kw_only=True):
    """What every line of generate and chat may have; counts and durations are in the last one."""

    model: str
    created_at: str
    done: bool
    done_reason: str = ""
    total_duration: Nanoseconds = 0
    load_duration: Nanoseconds = 0
    prompt_eval_count: Count = 0
    prompt_cached_count: Count = 0
    prompt_eval_duration: Nanoseconds = 0
    eval_count: Count = 0
    eval_duration: Nanoseconds = 0
    truncated_messages: Count = 0
    logprobs: list[Logprob] = []
    progress: ReadingProgress | None = None
    debug_info: DebugInfo | None = field(default=None, name="_debug_info")


class GenerateLine(_Line, kw_only=True):
    response: str
    thinking: str = ""
    context: list[int] = []
    tool_calls: list[Called] = []


class ChatLine(_Line, kw_only=True):
    message: AnswerMessage


class Vectors(Struct, kw_only=True):
    model: str
    embeddings: list[list[float]]
    total_duration: Nanoseconds = 0
    load_duration: Nanoseconds = 0
    prompt_eval_count: Count = 0


class OneVector(Struct, kw_only=True):
    embedding: list[float]


class ShownPiece(Struct, kw_only=True):
    id: int
    text: str
    bytes: list[int]


class Tokens(Struct, kw_only=True):
    model: str
    tokens: list[int]
    count: Count
    pieces: list[ShownPiece] = []


class Text(Struct, kw_only=True):
    model: str
    text: str


class RankedDocument(Struct, kw_only=True):
    text: str


class Ranked(Struct, kw_only=True):
    """``index`` in the request's documents."""

    index: int
    relevance_score: float
    document: RankedDocument | None = None


class RankUsage(Struct, kw_only=True):
    prompt_tokens: Count
    total_tokens: Count


class Ranking(Struct, kw_only=True):
    """Best first."""

    object: str
    model: str
    results: list[Ranked]
    usage: RankUsage


class Progress(Struct, kw_only=True):
    """A step of a longer work; the last one's ``status`` is "success"."""

    status: str
    digest: str = ""
    total: Count = 0
    completed: Count = 0
