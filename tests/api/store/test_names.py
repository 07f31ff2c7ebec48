"""Names and digests: the grammar, and that nothing else gets through (rows N1 to N9)."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.api.store import Name, parse_digest
from gristmill.runtime.errors import InvalidRequest

HEX = "0123456789abcdef" * 4
PARTS = ("registry.ollama.ai", "library")


@pytest.mark.parametrize(
    ("text", "parts", "short"),
    [
        ("llama3.2", (*PARTS, "llama3.2", "latest"), "llama3.2:latest"),
        ("llama3:8b", (*PARTS, "llama3", "8b"), "llama3:8b"),
        ("mattw/pygmalion", ("registry.ollama.ai", "mattw", "pygmalion", "latest"), "mattw/pygmalion:latest"),
        ("hf.co/b/x-GGUF:Q4_K_M", ("hf.co", "b", "x-GGUF", "Q4_K_M"), "hf.co/b/x-GGUF:Q4_K_M"),
        ("host:5000/ns/m:t", ("host:5000", "ns", "m", "t"), "host:5000/ns/m:t"),
        ("host:5000/ns/m", ("host:5000", "ns", "m", "latest"), "host:5000/ns/m:latest"),
        ("http://h/n/m", ("h", "n", "m", "latest"), "h/n/m:latest"),
        ("https://registry.ollama.ai/library/m", (*PARTS, "m", "latest"), "m:latest"),
        ("x.y/library/m", ("x.y", "library", "m", "latest"), "x.y/library/m:latest"),
        ("_a:_b", (*PARTS, "_a", "_b"), "_a:_b"),
        ("con:nul", (*PARTS, "con", "nul"), "con:nul"),
        ("m.:t.", (*PARTS, "m.", "t."), "m.:t."),
        ("m" * 80 + ":" + "t" * 80, (*PARTS, "m" * 80, "t" * 80), "m" * 80 + ":" + "t" * 80),
    ],
)
def test_a_name_is_cut_from_the_right(text, parts, short):
    name = Name.parse(text)
    assert (name.parts, name.short, name.full) == (parts, short, "{}/{}/{}:{}".format(*parts))
    assert Name.parse(short) == Name.parse(name.full) == name


@pytest.mark.parametrize(
    "text",
    ["", ":", "/", ":t", "m:", "/m", "n/", "a//b", "h//n/m", "..", ".", "../m", "a/../m", "-m", ".m", "m:-t", "m:.t",
     "a/b/c/d", "http://m", "ftp://h/n/m", "http://", "m\0", "m\n", "m:t\n", " m", "m ", "m m", "a\\b", "%2e%2e/m",
     "m%2f", "m@sha256:" + HEX, "n.s/m", "n:s/m", "é", "ｍ", "．．/m", "m\u0301", "🙂", "\u212a", "m:t:u",
     "/etc/passwd", "/dev/zero", "./m", "~/m", "m" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m",
     "x" * 100_000],
)  # fmt: skip
def test_what_is_no_name_is_refused(text):
    with pytest.raises(InvalidRequest, match=r"^invalid model name$"):
        Name.parse(text)


@settings(deadline=None)
@given(st.one_of(st.text(), st.text("aZ0_-.:/", max_size=12), st.from_regex(r"[\w./:-]{1,20}")))
@example("a/b:c/d")
def test_any_text_is_refused_or_stays_inside_the_store(text):
    try:
        name = Name.parse(text)
    except InvalidRequest:
        return
    assert Name.parse(str(name)) == name
    assert Name.parse(name.short) == name
    assert len(name.parts) == 4
    for part in name.parts:
        assert part.isascii()
        assert part not in ("", ".", "..")
        assert not set(part) & set("/\\\0\n ")


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}"])
def test_both_spellings_of_a_digest_pass(text):
    digest = parse_digest(text)
    assert (str(digest), digest.file_name) == (f"sha256:{HEX}", f"sha256-{HEX}")


@pytest.mark.parametrize(
    "value",
    ["", "sha256:", HEX, f"sha256:{HEX[:-1]}", f"sha256:{HEX}0", f"sha256:{HEX.upper()}", f"sha512:{HEX}",
     f"sha256_{HEX}", f"sha256:{HEX}\n", f" sha256:{HEX}", f"sha256:{HEX[:-1]}\0", "sha256:../../etc/passwd",
     f"sha256-{HEX[:60]}/../", f"sha256:{HEX[:-1]}٣", None, 7, [f"sha256:{HEX}"], {}, b"sha256:"],
)  # fmt: skip
def test_what_is_no_digest_is_refused(value):
    with pytest.raises(InvalidRequest, match=r"^invalid digest format$"):
        parse_digest(value)
