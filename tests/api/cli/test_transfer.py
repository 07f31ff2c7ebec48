"""``pull`` and ``push``: what is asked, what is shown, what goes wrong."""

import pytest

from gristmill.api.cli.transfer import model_page
from gristmill.api.store import Name


def test_pull_shows_each_step_once(gristmill, server):
    status, out, err = gristmill("pull", "llama3.2")
    assert (status, out) == (0, "")
    assert err.splitlines() == ["pulling manifest", "pulling dde5aa3fc5ff", "verifying sha256 digest", "success"]
    assert server.bodies("/api/pull") == [{"model": "llama3.2"}]


def test_an_error_of_the_server_is_ours(gristmill, server):
    server.error = "pull model manifest: file does not exist"
    assert gristmill("pull", "nothing") == (1, "", f"pulling manifest\nError: {server.error}\n")


def test_push_says_where_the_model_is(gristmill, server):
    status, out, err = gristmill("push", "mario/poet", "--insecure")
    assert (status, out) == (0, "\nYou can find your model at:\n\n\thttps://ollama.com/mario/poet\n")
    assert err.splitlines() == ["retrieving manifest", "pushing dde5aa3fc5ff", "pushing manifest", "success"]
    assert server.bodies("/api/push") == [{"model": "mario/poet", "insecure": True}]


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("mario/poet:v2", "https://ollama.com/mario/poet:v2"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
    ],
)
def test_pages(name, page):
    assert model_page(Name.parse(name)) == page
