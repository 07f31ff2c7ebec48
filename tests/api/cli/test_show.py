"""``show``: the sections and the single texts, to the letter."""

import pytest

from gristmill.api.cli import terminal
from gristmill.api.cli.show import describe

LLAMA = {
    "license": "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n\nLlama 3.2 Version Release Date: ...      \nmore\n",
    "modelfile": "FROM x",
    "parameters": 'stop                           "<|start_header_id|>"\nstop                           "<|eot_id|>"',
    "template": "{{ .Prompt }}",
    "system": "Be brief.",
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
    "model_info": {
        "general.architecture": "llama",
        "general.parameter_count": 3212749888,
        "llama.context_length": 131072,
        "llama.embedding_length": 3072,
        "tokenizer.ggml.tokens": ["a", "b", "c", "d", "e"],
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.merges": None,
    },
    "tensors": [{"name": "output_norm.weight", "type": "F32", "shape": [3072]}],
    "capabilities": ["completion", "tools"],
}


def test_the_whole_page():
    assert describe(LLAMA) == (
        "  Model\n"
        "    architecture        llama     \n"
        "    parameters          3.2B      \n"
        "    context length      131072    \n"
        "    embedding length    3072      \n"
        "    quantization        Q4_K_M    \n"
        "\n"
        "  Capabilities\n"
        "    completion    \n"
        "    tools         \n"
        "\n"
        "  Parameters\n"
        '    stop    "<|start_header_id|>"    \n'
        '    stop    "<|eot_id|>"             \n'
        "\n"
        "  System\n"
        "    Be brief.    \n"
        "\n"
        "  License\n"
        "    LLAMA 3.2 COMMUNITY LICENSE AGREEMENT    \n"
        "    Llama 3.2 Version Release Date: ...      \n"
        "    ...                                      \n"
        "\n"
    )


def test_verbose_adds_metadata_and_tensors():
    page = describe(LLAMA, verbose=True)
    assert (
        "  Metadata\n"
        "    general.architecture            llama                 \n"
        "    general.parameter_count         3.212749888e+09       \n"
        "    llama.context_length            131072                \n"
        "    llama.embedding_length          3072                  \n"
        "    tokenizer.ggml.add_bos_token    true                  \n"
        "    tokenizer.ggml.merges           []                    \n"
        "    tokenizer.ggml.tokens           [a b c ...+2 more]    \n\n"
    ) in page
    assert "  Tensors\n    output_norm.weight    F32    [3072]    \n\n" in page


def test_a_projector_has_its_own_section():
    info = {
        "general.architecture": "clip",
        "general.parameter_count": 312_000_000,
        "clip.vision.embedding_length": 1024,
        "clip.vision.projection_dim": 768,
    }
    assert describe({"projector_info": info}) == (
        "  Projector\n"
        "    architecture        clip       \n"
        "    parameters          312.00M    \n"
        "    embedding length    1024       \n"
        "    dimensions          768        \n"
        "\n"
    )


def test_a_model_elsewhere_says_where():
    model = {"remote_model": "big", "remote_host": "https://example.org", "details": {"family": "x"}}
    assert describe(model) == (
        "  Model\n"
        "    Remote model    big                    \n"
        "    Remote URL      https://example.org    \n"
        "    architecture    x                      \n"
        "\n"
    )


def test_a_bare_model_shows_what_is_known():
    assert describe({"details": {"family": "llama"}, "model_info": {}}) == (
        "  Model\n    architecture    llama    \n\n"
    )


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--license", LLAMA["license"] + "\n"),
        ("--modelfile", "FROM x\n"),
        ("--parameters", LLAMA["parameters"] + "\n"),
        ("--template", "{{ .Prompt }}"),
        ("--system", "Be brief."),
    ],
)
def test_one_text_alone(gristmill, server, flag, text):
    server.shown = LLAMA
    assert gristmill("show", "smollm2", flag) == (0, text, "")


def test_two_texts_are_refused(gristmill, server):
    assert gristmill("show", "smollm2", "--license", "--system") == (
        1,
        "",
        "Error: only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified\n",
    )


def test_a_missing_model(gristmill, server):
    assert gristmill("show", "x") == (1, "", "Error: model 'x' not found\n")


def test_verbose_asks_for_the_arrays(gristmill, server):
    gristmill("show", "smollm2", "-v")
    assert server.bodies("/api/show") == [{"model": "smollm2", "verbose": True}]


def test_a_models_text_cannot_move_the_cursor(gristmill, server, monkeypatch):
    server.shown = {"system": "a\x1b[2Jb"}
    assert gristmill("show", "smollm2", "--system")[1] == "a\x1b[2Jb"
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    assert gristmill("show", "smollm2", "--system")[1] == "a[2Jb"
