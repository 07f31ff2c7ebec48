"""docs/compatibility.md says of every line of the reference what happens here; these tests say whether it is so."""

import re
from pathlib import Path

import pytest

from gristmill.api import schema
from gristmill.api.anthropic.request import MessagesRequest
from gristmill.api.cli.args import COMMANDS
from gristmill.api.openai.responses_request import ResponsesRequest
from gristmill.api.openai.schema import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from gristmill.api.server import routes
from gristmill.api.settings import SETTINGS
from gristmill.api.store.parameters import PARAMETERS

PAGE = (Path(__file__).parents[1] / "docs" / "compatibility.md").read_text()
STATES = ("works", "differs", "skipped")
FIELDS = {
    "generate": schema.GenerateRequest,
    "chat": schema.ChatRequest,
    "a message": schema.Message,
    "embed": schema.EmbedRequest,
    "embeddings": schema.EmbeddingsRequest,
    "show": schema.ShowRequest,
    "create": schema.CreateRequest,
    "copy": schema.CopyRequest,
    "delete": schema.DeleteRequest,
    "pull": schema.PullRequest,
    "push": schema.PushRequest,
    "OpenAI's chat completions": ChatCompletionRequest,
    "OpenAI's completions": CompletionRequest,
    "OpenAI's embeddings": EmbeddingRequest,
    "OpenAI's responses": ResponsesRequest,
    "Anthropic's messages": MessagesRequest,
}
# Ours, and so in no reference: see docs/api.md.
BEYOND = {"logit_bias", "progress", "tokens", "tool_choice", "options", "keep_alive", "top_k", "min_p", "echo"}
BEYOND |= {"repeat_penalty", "repetition_penalty", "output_format"}
OUR_ROUTES = {
    *("/openapi.json", "/api/health", "/api/health/ready", "/metrics", "/api/rerank", "/v1/rerank"),
    *("/api/tokenize", "/v1/tokenize", "/api/detokenize", "/v1/detokenize"),
}


def table(title):
    """Rows of the section ``title``: (first cell without its marks, second cell)."""
    section = re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", section, flags=re.M)[1:]
    assert rows, title
    return [(name.strip("`"), state) for name, state in rows]


TITLES = re.findall(r"^## (.*)$", PAGE, flags=re.M)


@pytest.mark.parametrize("title", TITLES)
def test_every_row_says_what_happens(title):
    for name, state in table(title):
        assert state.startswith(STATES), (name, state)
    names = [name for name, _ in table(title)]
    assert len(names) == len(set(names))


def test_endpoints():
    known = {f"{route.method} {route.path}" for route in routes()}
    listed = dict(table("Endpoints"))
    for name, state in listed.items():
        is_missing = "404" in state
        assert (name not in known) == is_missing, name
    assert {name for name in known if name.split()[1] not in OUR_ROUTES} <= set(listed)


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name):
    from msgspec.structs import fields

    ours = {field.encode_name for field in fields(FIELDS[name])}
    listed = {field for field, state in table(f"Fields of {name}")}
    assert listed - ours <= {"template"}, "a field that works is one that is read"
    assert ours - listed <= BEYOND, "a field that is read is on the page"


def test_options():
    listed = {name for name, _ in table("Options") if " " not in name}
    assert set(PARAMETERS) <= listed


def test_environment_variables():
    rows = {name: row for row in SETTINGS for name in [row.name]}
    for name, state in table("Environment variables"):
        assert name in rows, name
        assert bool(rows[name].no_effect) == state.startswith("skipped"), name
    ollamas = {name for name in rows if name.startswith("OLLAMA_")}
    gone = {"OLLAMA_MULTIUSER_CACHE", "OLLAMA_NEW_ENGINE", "OLLAMA_MAX_VRAM", "OLLAMA_TMPDIR", "OLLAMA_RUNNERS_DIR"}
    assert ollamas - gone - {"OLLAMA_INTEL_GPU"} <= {name for name, _ in table("Environment variables")}


def test_commands():
    commands = {command.name: command for command in COMMANDS}
    for name, state in table("Commands"):
        command, _, flag = name.partition(" ")
        if state.startswith("skipped"):
            assert command not in commands or flag, name
            continue
        flags = {n for argument in commands[command].arguments for n in argument.names}
        assert not flag or flag in flags, name


def test_the_prompts_commands():
    from gristmill.api.cli.repl_help import HELP, SET_HELP

    for name, _ in table("The interactive prompt"):
        assert name.split()[0] in HELP + SET_HELP, name
        assert name in HELP + SET_HELP or name.split()[0] == name, name
