"""Where models are: names to addresses, and redirects to addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gristmill.api.registry.addresses import Repository, follow, is_private, origin_of
from gristmill.api.registry.errors import RedirectRefused
from gristmill.api.store import parse_digest
from gristmill.runtime.errors import InvalidRequest


@pytest.mark.parametrize(
    ("name", "insecure", "url"),
    [
        ("llama3.2", False, "https://registry.ollama.ai/v2/library/llama3.2/manifests/latest"),
        ("hf.co/Bartowski/X-GGUF:Q4_K_M", False, "https://hf.co/v2/Bartowski/X-GGUF/manifests/Q4_K_M"),
        ("localhost:5000/a/b:c", True, "http://localhost:5000/v2/a/b/manifests/c"),
        ("https://r.example/a/b", False, "https://r.example/v2/a/b/manifests/latest"),
        ("http://r.example/a/b", True, "http://r.example/v2/a/b/manifests/latest"),
    ],
)
def test_names_lead_to_registries(name, insecure, url):
    assert str(Repository.of(name, insecure=insecure).manifest) == url


def test_other_addresses_of_a_repository():
    digest = parse_digest("sha256:" + "0" * 64)
    repository = Repository.of("r.example:443/a/b")
    assert str(repository.blob(digest)) == f"https://r.example/v2/a/b/blobs/{digest}"
    assert str(repository.uploads) == "https://r.example/v2/a/b/blobs/uploads/"
    assert repository.origin == origin_of(URL("https://R.Example./x"))


@pytest.mark.parametrize("name", ["a:b:c/d/e", "h:x/a/b", "h:99999/a/b", "h:0/a/b", "::/a/b", "1:2:3/a/b"])
def test_hosts_that_are_none(name):
    with pytest.raises(InvalidRequest, match=r"^invalid model name$"):
        Repository.of(name)


@given(st.text(max_size=60))
def test_any_location_is_followed_or_refused(location):
    try:
        found = follow(URL("https://r.example/v2/x"), location)
    except RedirectRefused:
        return
    assert found.scheme == "https"
    assert found.host
    assert found.user is None


@given(st.text(max_size=40))
def test_no_text_is_a_public_address_by_accident(text):
    assert is_private(text) or text.replace(".", "").isdigit() or ":" in text
