"""Which template makes a model's prompts, Go templates over the API, and what models can do by theirs."""

import pytest
from support.qwen import TEMPLATE as JINJA
from support.tiny_model import write_tiny_model

GO = "{{ range .Messages }}[{{ .Role }}]{{ .Content }}{{ end }}[assistant]"
GO_TOOLS = """\
{{- range .Tools }}<tool>{{ . }}</tool>{{ end }}
{{- range .Messages }}[{{ .Role }}]
{{- if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}
{{- if .ToolCalls }}<tool_call>{{ range .ToolCalls }}{"name": "{{ .Function.Name }}"}{{ end }}</tool_call>{{ end }}
{{- .Content }}{{ if eq .Role "tool" }}!{{ end }}
{{- end }}[assistant]"""
ASK = [{"role": "user", "content": "hi"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def models(api, tmp_path):
    """``api`` with ``bare``, which has no template, and ``jinja``."""
    for name, template in (("bare", None), ("jinja", JINJA)):
        path = write_tiny_model(tmp_path / f"{name}.gguf", chat_template=template)
        digest, _ = api.service.store.blobs.add(path.read_bytes())
        await api.create(name, files={"m.gguf": str(digest)})
    api.runners.script = ["yes"]
    return api


async def prompt_of(api, model, path="/api/chat", **fields):
    body = {"model": model, **({"messages": ASK} if path == "/api/chat" else {}), **fields, "_debug_render_only": True}
    return (await api.json(path, body))["_debug_info"]["rendered_template"]


async def capabilities(api, model):
    (listed,) = [m for m in (await _tags(api)) if m["name"] == f"{model}:latest"]
    shown = (await api.json("/api/show", {"model": model}))["capabilities"]
    assert shown == listed["capabilities"], "the same list in both places"
    return shown


async def _tags(api):
    import json

    return json.loads((await api.send("GET", "/api/tags"))[2])["models"]


async def test_a_template_of_the_request_makes_the_prompt(models):
    template = "{{ .System }}|{{ .Prompt }}|"
    prompt = await prompt_of(models, "bare", "/api/generate", prompt="hi", system="S", template=template)
    assert prompt == "S|hi|"


async def test_a_models_go_template_makes_its_prompts(models):
    await models.create("go", from_="bare", template=GO)
    assert await prompt_of(models, "go") == "[user]hi[assistant]"
    assert await prompt_of(models, "go", "/api/generate", prompt="hi", system="S") == "[system]S[user]hi[assistant]"
    assert (await models.json("/api/show", {"model": "go"}))["template"] == GO


async def test_without_any_template_the_prompt_is_the_text(models):
    assert await prompt_of(models, "bare", "/api/generate", prompt="hi") == "hi"
    assert (await models.json("/api/show", {"model": "bare"}))["template"] == "{{ .Prompt }}"


async def test_the_template_that_does_more_is_used(models):
    await models.create("less", from_="jinja", template=GO)
    assert (await models.json("/api/show", {"model": "less"}))["template"] == JINJA
    await models.create("same", from_="jinja", template=GO_TOOLS)
    assert (await models.json("/api/show", {"model": "same"}))["template"] == GO_TOOLS


@pytest.mark.parametrize("use_go", [True, False])
async def test_a_setting_decides(models, use_go):
    await models.create("both", from_="jinja", template=GO)
    models.service.templates._use_go = use_go
    assert ("[user]hi" in await prompt_of(models, "both")) == use_go


async def test_capabilities_follow_from_the_template_in_use(models):
    await models.create("tools", from_="bare", template=GO_TOOLS)
    await models.create("insert", from_="bare", template="{{ .Prompt }}<fim>{{ .Suffix }}")
    assert await capabilities(models, "tools") == ["completion", "tools", "thinking"]
    assert await capabilities(models, "insert") == ["completion", "insert"]
    assert await capabilities(models, "jinja") == ["tools", "thinking", "completion"]
    assert await capabilities(models, "bare") == ["completion"]


async def test_tools_and_thinking_by_a_go_template(models):
    await models.create("tools", from_="bare", template=GO_TOOLS)
    await models.json("/api/chat", {"model": "tools"})
    script = ["<think>hm</think>", '<tool_call>{"name": "weather", "arguments": {"a": 1}}</tool_call>']
    models.runners.last.next_scripts = [script]
    body = {"model": "tools", "messages": ASK, "tools": [WEATHER], "stream": False}
    message = (await models.json("/api/chat", body))["message"]
    assert message["thinking"] == "hm"
    assert message["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert models.runners.last.prompts[-1][0].startswith("<tool>{")


async def test_a_suffix_is_put_behind_the_gap(models):
    await models.create("insert", from_="bare", template="<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>")
    assert await prompt_of(models, "insert", "/api/generate", prompt="a", suffix="b") == "<pre>a<suf>b<mid>"
    status, text = await models.error("/api/generate", {"model": "bare", "prompt": "a", "suffix": "b"})
    assert (status, text) == (400, "registry.ollama.ai/library/bare:latest does not support insert")


@pytest.mark.parametrize("template", ["{{ if }}", "{{ .Prompt", "{{ nothing }}"])
async def test_a_template_that_is_none_is_refused(models, template):
    status, text = await models.error("/api/create", {"model": "x", "from": "bare", "template": template})
    assert (status, text.startswith("template error: ")) == (400, True)
    status, _ = await models.error("/api/generate", {"model": "bare", "prompt": "a", "template": template})
    assert status in (400, 500)


async def test_a_broken_template_in_the_store_gives_way_to_the_files_own(models):
    await models.create("broken", from_="jinja", template=GO)
    models.service.templates._inspected[GO] = None
    assert (await models.json("/api/show", {"model": "broken"}))["template"] == JINJA


async def test_a_known_template_is_found_by_its_prompts(models, tmp_path):
    chatml = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    path = write_tiny_model(tmp_path / "chatml.gguf", chat_template=chatml, seed=3)
    digest, _ = models.service.store.blobs.add(path.read_bytes())
    lines = await models.lines("/api/create", {"model": "found", "files": {"m.gguf": str(digest)}})
    assert {"status": "using autodetected template chatml"} in lines
    shown = await models.json("/api/show", {"model": "found"})
    assert "<|im_start|>" in shown["parameters"]
    assert ".Messages" in shown["template"]
    assert await prompt_of(models, "found") == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


async def test_an_unknown_template_stays_the_files_own(models):
    digest = models.service.store.find("jinja").layers[0].digest
    lines = await models.lines("/api/create", {"model": "again", "files": {"m.gguf": str(digest)}})
    assert not any("autodetected" in line["status"] for line in lines)


async def test_an_answer_that_has_begun_stands_behind_harmonys_header(models):
    await models.create("oss", from_="jinja", parser="harmony")
    begun = [*ASK, {"role": "assistant", "content": "It is"}]
    assert (await prompt_of(models, "oss", messages=begun)).endswith("assistant\n<|channel|>final<|message|>It is")
    await models.json("/api/chat", {"model": "oss"})
    models.runners.last.next_scripts = [[" fine", "<|return|>"]]
    answer = await models.json("/api/chat", {"model": "oss", "messages": begun, "stream": False})
    assert answer["message"]["content"] == " fine"
    assert "<|channel|>" in models.runners.last.prompts[-1][1].shown


async def test_harmony_is_told_names_that_it_can_write(models):
    await models.create("oss", from_="jinja", parser="harmony")
    tool = {"type": "function", "function": {"name": "get-it", "parameters": {"type": "object", "properties": {}}}}
    assert '"get_it"' in await prompt_of(models, "oss", tools=[tool])
    await models.json("/api/chat", {"model": "oss"})
    models.runners.last.next_scripts = [['<|channel|>commentary to=functions.get_it<|message|>{"a": 1}<|call|>']]
    body = {"model": "oss", "messages": ASK, "tools": [tool], "stream": False}
    (call,) = (await models.json("/api/chat", body))["message"]["tool_calls"]
    assert call["function"]["name"] == "get-it"
