"""Files named in a prompt: which are found, what is left of the text, and what is refused."""

import base64

import pytest

from gristmill.api.cli import media

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
JPEG = b"\xff\xd8\xff\xe0" + bytes(8)
WEBP = b"RIFF\x10\0\0\0WEBPVP8 "
WAV = b"RIFF\x10\0\0\0WAVEfmt "


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sub").mkdir()
    for name, content in {
        "cat.png": PNG,
        "my cat (1).jpg": JPEG,
        "sub/dog.WEBP": WEBP,
        "a.jpeg": JPEG,
        "bark.wav": WAV,
        "text.png": b"hello",
        "empty.png": b"",
        "song.wav": b"RIFF\x10\0\0\0AVI LIST",
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def attached(text):
    text, files = media.attach(text)
    return text, [(file.kind, file.path) for file in files]


@pytest.mark.parametrize(
    ("text", "left", "files"),
    [
        ("describe ./cat.png", "describe", [("image", "cat.png")]),
        ("./cat.png", "", [("image", "cat.png")]),
        ("what is ./cat.png about?", "what is about?", [("image", "cat.png")]),
        ("what is './cat.png'?", "what is ?", [("image", "cat.png")]),
        ('see "./my cat (1).jpg" now', "see now", [("image", "my cat (1).jpg")]),
        (r"see ./my\ cat\ \(1\).jpg", "see", [("image", "my cat (1).jpg")]),
        ("see ./my%20cat%20(1).jpg", "see", [("image", "my cat (1).jpg")]),
        ("see ./sub/dog.WEBP, ./a.jpeg", "see ,", [("image", "sub/dog.WEBP"), ("image", "a.jpeg")]),
        ("compare ./none.png and ./cat.png", "compare ./none.png and", [("image", "cat.png")]),
        ("see ./sub/../a.jpeg", "see", [("image", "sub/../a.jpeg")]),
        ("hear ./bark.wav", "hear", [("audio", "bark.wav")]),
        ("Image:./cat.png", "Image:", [("image", "cat.png")]),
        ("one\n./cat.png\ntwo", "one\n\ntwo", [("image", "cat.png")]),
    ],
)
def test_a_file_that_exists_is_taken_out_of_the_text(folder, text, left, files):
    assert attached(text) == (left, files)


@pytest.mark.parametrize(
    "text",
    [
        "see cat.png",  # no path
        "see ./none.png ",
        "see https://example.org/cat.png",
        "see ./cat.pngs",
        "see ./sub",
        "see ./cat\n.png",
        "see ./\0.png",
        "see ./" + "a" * 5000 + ".png",
        "either/or and/./cat.png",
        "",
    ],
)
def test_what_only_looks_like_a_file_stays_as_it_is(folder, text):
    assert attached(text) == (text, [])


def test_absolute_paths_and_the_home_folder(folder):
    absolute = str(folder / "cat.png")
    assert attached(f"see {absolute} now") == ("see now", [("image", absolute)])
    assert attached("see ~/a.jpeg") == ("see", [("image", str(folder / "a.jpeg"))])


def test_the_content_goes_along_as_base64(folder):
    assert base64.b64decode(media.attach("./bark.wav")[1][0].data) == WAV


@pytest.mark.parametrize("name", ["text.png", "empty.png", "song.wav"])
def test_content_that_is_no_image_and_no_sound_is_refused(folder, name):
    with pytest.raises(media.UnusableFile) as error:
        media.attach(f"see ./cat.png and ./{name}")
    assert str(error.value) == f"Couldn't process file: {name} is no JPEG, PNG or WebP image and no WAV sound"


def test_a_file_over_100_mb_is_refused(folder):
    with (folder / "cat.png").open("ab") as file:
        file.truncate((100 << 20) + 1)
    with pytest.raises(media.UnusableFile, match=r"^Couldn't process file: cat\.png is larger than 100 MB$"):
        media.attach("./cat.png")


def test_few_look_ups_for_many_extensions(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(media.Path, "is_file", lambda path: asked.append(path) is not None)
    assert media.attach("./" + "a.png b" * 500)[1] == []
    assert len(asked) == 16


@pytest.mark.parametrize(
    ("text", "answer"), [("./cat.png", True), (" ./cat.png x", True), ("see ./cat.png", False), ("/set x", False)]
)
def test_a_line_that_starts_with_a_file(folder, text, answer):
    assert media.starts_with_file(text) is answer
