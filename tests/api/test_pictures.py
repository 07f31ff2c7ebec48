"""Pictures in requests, in front of runners that follow a script: checked, placed, decoded."""

import base64

import pytest
from support import gguf_builder as g
from support.fake_runner import PREPARATION
from support.model_folder import tiny_gguf as bare_gguf
from support.vision import png

from gristmill.api.options import LoadOptions
from gristmill.api.pictures import base64_bytes, check_places, marked, marked_messages, picture_tokens
from gristmill.runtime.errors import InvalidRequest
from gristmill.runtime.images.decode import decode

ONE, TWO = (base64.b64encode(png(20, 12, seed)).decode() for seed in (1, 2))
PICTURES = {image: decode(base64.b64decode(image), PREPARATION) for image in (ONE, TWO)}


@pytest.fixture
async def eye(api, tiny_gguf):
    """With one more model, ``eye``, that has a projector."""
    files = {"tiny.gguf": tiny_gguf}
    metadata = [g.text("general.type", "mmproj"), g.KeyValue("clip.vision.image_size", g.UINT32, g.u32(896))]
    files["mmproj.gguf"] = bare_gguf(*metadata, architecture="clip", template=None)
    digests = {name: str(api.service.store.blobs.add(data)[0]) for name, data in files.items()}
    await api.create("eye", files=digests)
    return api


def generate(**fields):
    return {"model": "eye", "prompt": "what is it?", "images": [ONE], "stream": False, **fields}


def chat(*messages, **fields):
    return {"model": "eye", "messages": [{"role": "user", **m} for m in messages], "stream": False, **fields}


async def shown(api, path, body):
    """The prompt and the pictures that the runner got."""
    await api.json(path, body)
    prompt, _, _ = api.runners.last.prompts[-1]
    return prompt, api.runners.last.pictures[-1]


# -- places --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [
        ("hi", [], "hi"),
        ("hi", [0], "[img-0]hi"),
        ("hi", [0, 1], "[img-0][img-1]hi"),
        ("see [img] and [img]", [3, 4], "see [img-3] and [img-4]"),
        ("see [img]", [3, 4], "[img-4]see [img-3]"),
        ("see [img] and [img]", [3], "see [img-3] and [img]"),
        ("[img-7]", [0], "[img-0][img-7]"),
    ],
)
def test_marks_go_where_the_text_says_or_in_front(text, numbers, expected):
    assert marked(text, numbers) == expected


def test_pictures_are_counted_over_all_messages():
    messages = [{"content": "a", "images": ["x", "y"]}, {"content": "b"}, {"content": "c [img]", "images": ["z"]}]
    assert marked_messages(messages) == [
        {"content": "[img-0][img-1]a", "images": ["[img-0]", "[img-1]"]},
        {"content": "b"},
        {"content": "c [img-2]", "images": ["[img-2]"]},
    ]


def test_every_picture_needs_a_place():
    check_places("a [img-1] b [img-0]", 2)
    check_places("[img-5]", 0)
    with pytest.raises(InvalidRequest, match=r"images\[1\]: .*write \[img-1\] where it belongs"):
        check_places("[img-0]", 2)
    assert picture_tokens("[img-0] [img-1] [img-9]", 2) == 2 * 768


@pytest.mark.parametrize(
    ("text", "at"),
    [("====", 0), ("aGk=aGk=", 3), ("aGk", 3), ("a Gk=", 1), ("aGk-", 3), ("aG\n=", 3), ("ä", 0), ("data:x", 4)],
)  # fmt: skip
def test_what_is_no_base64_says_where(text, at):
    with pytest.raises(InvalidRequest, match=f"illegal base64 data at input byte {at}$"):
        base64_bytes(text)


def test_line_ends_may_be_inside():
    assert base64_bytes("aG\r\nk=\n") == b"hi"


# -- requests ------------------------------------------------------------------------------------------------------


async def test_generate_shows_its_pictures(eye):
    prompt, pictures = await shown(eye, "/api/generate", generate())
    assert "<|im_start|>user\n[img-0]what is it?" in prompt
    assert pictures == [PICTURES[ONE]]
    assert eye.runners.last.load.projector.endswith(eye.service.store.find("eye").projector_path.name)


async def test_generate_puts_them_where_the_prompt_says(eye):
    prompt, pictures = await shown(eye, "/api/generate", generate(prompt="is [img] like [img]?", images=[ONE, TWO]))
    assert "is [img-0] like [img-1]?" in prompt
    assert pictures == [PICTURES[ONE], PICTURES[TWO]]


async def test_a_template_of_the_request_has_the_marks_too(eye):
    prompt, _ = await shown(eye, "/api/generate", generate(template="Q: {{ .Prompt }} A:"))
    assert prompt == "Q: [img-0]what is it? A:"


async def test_raw_prompts_have_their_own_marks(eye):
    prompt, _ = await shown(eye, "/api/generate", generate(raw=True, prompt="x [img-0] y"))
    assert prompt == "x [img-0] y"
    status, error = await eye.error("/api/generate", generate(raw=True))
    assert (status, error) == (400, "images[0]: no place in the prompt; write [img-0] where it belongs")


async def test_chat_counts_over_messages_and_roles(eye):
    body = chat({"content": "first", "images": [ONE]}, {"content": "then [img]!", "images": [TWO]})
    prompt, pictures = await shown(eye, "/api/chat", body)
    assert "[img-0]first" in prompt
    assert "then [img-1]!" in prompt
    assert pictures == [PICTURES[ONE], PICTURES[TWO]]


async def test_a_go_template_has_them_as_well(eye):
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }} ({{ len .Images }})\n{{ end }}"
    await eye.create("go", from_="eye", template=template)
    prompt, _ = await shown(eye, "/api/chat", {**chat({"content": "hi", "images": [ONE, TWO]}), "model": "go"})
    assert "user: [img-0][img-1]hi (2)" in prompt
    legacy = "{{ .Prompt }}|{{ .Response }}"
    await eye.create("old", from_="eye", template=legacy)
    prompt, _ = await shown(eye, "/api/chat", {**chat({"content": "hi", "images": [ONE]}), "model": "old"})
    assert prompt == "[img-0]hi|"


async def test_messages_that_go_take_their_pictures_with_them(eye):
    """A conversation that is too long loses its oldest message; numbers stay."""
    body = chat(
        {"content": "x" * 400, "images": [ONE]},
        {"role": "assistant", "content": "ok"},
        {"content": "y", "images": [TWO]},
        options={"num_ctx": 400},
    )
    prompt, pictures = await shown(eye, "/api/chat", body)
    assert "[img-0]" not in prompt
    assert "[img-1]y" in prompt
    assert pictures[1] == PICTURES[TWO]


async def test_a_rendered_prompt_counts_its_pictures(eye):
    answer = await eye.json("/api/generate", generate(_debug_render_only=True))
    assert answer["_debug_info"]["image_count"] == 1
    assert "[img-0]what is it?" in answer["_debug_info"]["rendered_template"]


async def test_openai_and_anthropic_show_theirs(eye):
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ONE}"}}
    content = [{"type": "text", "text": "what?"}, part]
    await eye.json("/v1/chat/completions", {"model": "eye", "messages": [{"role": "user", "content": content}]})
    assert eye.runners.last.pictures[-1] == [PICTURES[ONE]]
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TWO}}
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "what?"}]}]
    await eye.json("/v1/messages", {"model": "eye", "max_tokens": 5, "messages": messages})
    assert eye.runners.last.pictures[-1] == [PICTURES[TWO]]
    item = {"type": "input_image", "image_url": f"data:image/png;base64,{ONE}"}
    await eye.json("/v1/responses", {"model": "eye", "input": [{"role": "user", "content": [item]}]})
    assert eye.runners.last.pictures[-1] == [PICTURES[ONE]]


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (["aGk="], "images[0]: unsupported image format; supported: JPEG, PNG, WebP, GIF and BMP"),
        ([ONE, "aG k="], "illegal base64 data at input byte 2"),
        ([""], "images[0]: unsupported image format"),
        ([f"data:image/png;base64,{ONE}"], "illegal base64 data at input byte 4"),
        ([ONE, base64.b64encode(png()[:-60]).decode()], "images[1]: the PNG image is damaged or cut off"),
        ([ONE] * 65, "images: 65 images are over the limit of 64"),
    ],
)
async def test_what_is_no_picture_is_refused(eye, images, error):
    for path, body in (("/api/generate", generate(images=images)), ("/api/chat", chat({"images": images}))):
        status, text = await eye.error(path, body)
        assert status == 400
        assert text.startswith(error)


async def test_a_model_without_a_projector_says_so(eye):
    status, error = await eye.error("/api/generate", generate(model="tiny"))
    assert (status, error) == (400, 'images: "tiny" does not support images, it has no projector')
    status, error = await eye.error("/api/chat", {**chat({"images": [ONE]}), "model": "tiny"})
    assert (status, error) == (400, 'images: "tiny" does not support images, it has no projector')


async def test_a_projector_that_cannot_be_run_is_named_and_text_is_answered(eye):
    await eye.json("/api/generate", generate(images=[]))
    runner = eye.runners.last
    reason = 'clip.projector_type: "new" is not supported'
    runner.ready = type(runner.ready)(
        **{name: getattr(runner.ready, name) for name in runner.ready.__struct_fields__}
        | {"preparation": None, "no_pictures": reason}
    )
    status, error = await eye.error("/api/generate", generate())
    assert (status, error) == (400, f"images: eye cannot look at them: {reason}")
    assert (await eye.json("/api/generate", generate(images=[])))["done"]


async def test_show_tells_of_the_projector(eye):
    shown = await eye.json("/api/show", {"model": "eye"})
    assert shown["capabilities"] == ["completion", "vision"]
    assert shown["projector_info"]["general.architecture"] == "clip"
    assert shown["projector_info"]["clip.vision.image_size"] == 896
    assert "projector_info" not in await eye.json("/api/show", {"model": "tiny"})


def test_a_loaded_projector_serves_requests_without_one():
    plain, seeing = LoadOptions(num_ctx=8), LoadOptions(num_ctx=8, projector="a")
    assert plain.served_by(seeing)
    assert not seeing.served_by(plain)
    assert not seeing.served_by(LoadOptions(num_ctx=8, projector="b"))
