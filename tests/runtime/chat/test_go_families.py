"""Families are found by the prompts they make, not by their text."""

from __future__ import annotations

import pytest
from support.golden import unpacked

from gristmill.runtime.chat import JinjaTemplate, Renderer, TextGuard, chat_data, render_go_chat
from gristmill.runtime.chat.detect import PROBES, detect
from gristmill.runtime.chat.families import FAMILIES
from gristmill.runtime.chat.go_chat import GoPrompts
from gristmill.runtime.chat.go_template import GoTemplate
from gristmill.runtime.chat.go_template.inspect import uses
from gristmill.runtime.chat.wire import GoChat
from gristmill.runtime.checkpoint import open_checkpoint

USER = {"role": "user", "content": "Hi"}


def labelled(system, user, assistant, end, cue=None):
    """A Jinja template with a label for each role."""
    cue = assistant if cue is None else cue
    labels = {"system": system, "user": user, "assistant": assistant}
    message = f"{labels!r}[m.role] ~ m.content ~ {end!r}"
    return f"{{{{ bos_token }}}}{{% for m in messages %}}{{{{ {message} }}}}{{% endfor %}}{{{{ {cue!r} }}}}"


NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
GEMMA = (
    "{% for m in messages %}{{ '<start_of_turn>' + {'user': 'user', 'assistant': 'model'}[m.role] + '\\n' }}"
    "{{ m.content | trim + '<end_of_turn>\\n' }}{% endfor %}{{ '<start_of_turn>model\\n' }}"
)
SYSTEM_IN_FIRST = (
    "{% if messages[0].role == 'system' %}{% set system = BEFORE + messages[0].content + AFTER %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ USER + (system if loop.first else '') + m.content + END }}"
    "{% else %}{{ ANSWER + m.content + ANSWERED }}{% endif %}{% endfor %}{{ CUE }}"
)


def in_first(**texts):
    source = SYSTEM_IN_FIRST
    for name, text in sorted(texts.items(), key=lambda item: -len(item[0])):
        source = source.replace(name, text if text == "eos_token" else repr(text))
    return source


KNOWN = {
    "chatml": labelled("<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"),
    "llama3-instruct": labelled(
        *(f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role in ("system", "user", "assistant")), "<|eot_id|>"
    ),
    "phi-3": labelled("<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|end|>\n"),
    "zephyr": labelled("<|system|>\n", "<|user|>\n", "<|assistant|>\n", "</s>\n"),
    "openchat": labelled(
        *(f"GPT4 Correct {role}: " for role in ("System", "User", "Assistant")),
        *("<|end_of_turn|>", "GPT4 Correct Assistant:"),
    ),
    "solar-instruct": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ '### Assistant:\\n' + m.content }}"
        "{% else %}{{ '### ' + m.role.title() + ':\\n' + m.content + '\\n\\n' }}{% endif %}{% endfor %}"
        "{{ '### Assistant:\\n' }}"
    ),
    "falcon-instruct": labelled("System: ", "User: ", "Falcon: ", "\n", "Falcon:"),
    "granite-instruct": labelled("System:\n", "Question:\n", "Answer:\n", "\n\n"),
    "gemma-instruct": NO_SYSTEM + GEMMA,
    "gemma3-instruct": in_first(
        BEFORE="", AFTER="\n\n", USER="<start_of_turn>user\n", END="<end_of_turn>\n",
        ANSWER="<start_of_turn>model\n", ANSWERED="<end_of_turn>\n", CUE="<start_of_turn>model\n",
    ),
    "mistral-instruct": in_first(
        BEFORE="", AFTER="\n\n", USER=" [INST] ", END=" [/INST]", ANSWER=" ", ANSWERED="</s>", CUE=""
    ),
    "vicuna": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\\n\\n' }}{% elif m.role == 'user' %}"
        "{{ 'USER: ' + m.content + '\\n' }}{% else %}{{ 'ASSISTANT: ' + m.content + '</s>\\n' }}{% endif %}{% endfor %}"
        "{{ 'ASSISTANT:' }}"
    ),
}  # fmt: skip
LLAMA_2 = in_first(
    BEFORE="<<SYS>>\n", AFTER="\n<</SYS>>\n\n", USER="<s>[INST] ", END=" [/INST]", ANSWER=" ", ANSWERED=" </s>", CUE=""
)


@pytest.mark.parametrize("name", KNOWN)
def test_a_family_is_found_by_its_prompts(name):
    found = detect(KNOWN[name])
    assert found is not None
    assert found.name == name


def test_the_first_token_is_set_aside():
    assert detect(KNOWN["chatml"], bos_token="<s>").name == "chatml"
    for bos in ("<s>", ""):
        assert detect(LLAMA_2, bos_token=bos).name == "llama2-chat"


def test_the_last_token_is_the_models_own():
    source = KNOWN["zephyr"].replace("'</s>\\n'", "eos_token ~ '\\n'")
    assert detect(source, eos_token="</s>").name == "zephyr"
    assert detect(source, eos_token="<eos>") is None


@pytest.mark.parametrize(
    "source",
    [
        "",
        "{{ messages }}",
        "{% nonsense",
        "{{ raise_exception('x') }}",
        KNOWN["chatml"].replace("\\n", " "),
        KNOWN["chatml"] + " ",
        "{{ 'You are kind.' if messages[0].role != 'system' }}" + KNOWN["chatml"],
        NO_SYSTEM.replace("'system'", "'user'") + KNOWN["chatml"],
    ],
)
def test_other_prompts_are_no_family(source):
    assert detect(source) is None


def test_every_family_tells_its_prompts_from_all_others():
    prompts = {
        family: tuple(GoPrompts(family.template).prompt(GoChat(messages=list(probe)), 0) for probe in PROBES)
        for family in FAMILIES
    }
    assert len(set(prompts.values())) == len(FAMILIES)
    for family, texts in prompts.items():
        assert uses(GoTemplate(family.template).tree, ".Messages")
        for probe, text in zip(PROBES, texts, strict=True):
            assert all(message["content"] in text for message in probe), family.name


async def test_detection_runs_in_the_worker_and_gives_the_template():
    renderer = Renderer(timeout_s=20.0)
    try:
        found = await renderer.detect(KNOWN["chatml"], bos_token="<s>", eos_token="</s>")
        assert found in FAMILIES
        text = await render_go_chat(renderer, found.template, [USER], guard=TextGuard([]))
        assert text == JinjaTemplate(KNOWN["chatml"]).render(chat_data([USER]))
        assert await renderer.detect("{{ messages }}") is None
    finally:
        await renderer.close()


@pytest.mark.parametrize(("vocabulary", "expected"), [("command-r", "command-r"), ("qwen2", None), ("phi-3", None)])
def test_templates_of_real_vocabularies(vocabulary, expected):
    """Qwen's adds a system text of its own, Phi's leaves system texts out: both keep their Jinja template."""
    with open_checkpoint(unpacked(f"vocabs/ggml-vocab-{vocabulary}.gguf.xz")) as checkpoint:
        found = detect(checkpoint.metadata["tokenizer.chat_template"])
    assert (found and found.name) == expected
